// Linear layers of experts whose weights are codes of 4 or 8 bits, each column's one after the
// other: weight[e, n, k] = (code[e, n, k] - zero[e, n, group(k)]) * scale[e, n, group(k)].
#pragma once

#include "device/numeric.h"

namespace vllm::device {

struct ExpertsGemm {
  const char* op;
  const void* input;          // [tokens, k], contiguous
  void* output;               // [tokens * top_k, n], contiguous: a row a choice
  const uint8_t* codes;       // [experts, n, k * bits / 8], lowest bits first
  const void* scales;         // [experts, n, groups], of the input's type
  const uint8_t* zeros;       // [experts, n * bits / 8, groups], or null: half of the codes
  const float* topk_weights;  // [tokens * top_k], or null: 1
  // Choices (token * top_k + choice) in blocks of one expert each; others are padding.
  const int32_t* choices;
  const int32_t* block_experts;  // [blocks]; outside of [0, experts): the block's rows are zeros
  const int32_t* total;          // [1]: choices and padding in use
  int64_t tokens;
  int64_t blocks;
  int experts;
  int top_k;
  int block_size;  // 1 to 64
  int n;
  int k;           // a multiple of group_size
  int group_size;  // a multiple of 32
  int bits;        // 4 or 8
  Type type;       // bf16 or f16
  Stream stream;
};
// Rows of choices that no block has become zeros.
void MultiplyExperts(const ExpertsGemm& args);

}  // namespace vllm::device
