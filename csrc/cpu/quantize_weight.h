// From weights in floating point to 4- and 8-bit codes.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace vllm {

// weight[i] is about scale * (code[i] - middle), middle being 8 or 128.
struct QuantizeWeightArgs {
  const void* weight;  // [n, k], rows `row_stride` elements apart
  DType dtype;
  int64_t row_stride;
  int64_t n;
  int64_t k;
  uint8_t* codes;  // [n, k]
  float* scales;
};

// 8 bits, one scale a row (scales [n]): its largest value becomes 127 or -127.
void QuantizeWeightRows(const QuantizeWeightArgs& args);

inline constexpr int64_t kInt4Group = 32;

// 4 bits, scales [n, ceil(k / 32)]: of several roundings of a group the one with the smallest
// squared error, and the scale that is best for it.
void QuantizeWeightGroups(const QuantizeWeightArgs& args);

}  // namespace vllm
