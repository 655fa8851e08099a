// The check of swap_blocks' mapping, the same for every device.
#pragma once

#include <stdexcept>
#include <string>

#include "bindings/tensor.h"

namespace vllm {

// pairs: i64 [pairs, 2] of (source block, destination block) in host memory, each inside its side's
// bytes.
inline void CheckBlockPairs(const TensorView& pairs, int64_t src_bytes, int64_t dst_bytes,
                            int64_t block_bytes) {
  CheckType(pairs, ScalarType::Long);
  CheckShape(pairs, {-1, 2}, "[pairs, (source block, destination block)]");
  CheckContiguous(pairs);
  if (block_bytes <= 0) {
    throw std::runtime_error(std::string(pairs.op) + ": block_size_in_bytes is " +
                             std::to_string(block_bytes) + ", expected at least 1");
  }
  const int64_t limits[2] = {src_bytes / block_bytes, dst_bytes / block_bytes};
  const int64_t* values = pairs.Data<int64_t>();
  for (int64_t i = 0; i < 2 * pairs.Size(0); ++i) {
    if (values[i] < 0 || values[i] >= limits[i % 2]) {
      Fail(pairs, "holds block " + std::to_string(values[i]) + ", expected 0 to " +
                      std::to_string(limits[i % 2] - 1) + (i % 2 == 0 ? " in src" : " in dst"));
    }
  }
}

}  // namespace vllm
