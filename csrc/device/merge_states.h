// Merges two partial attentions of the same queries over disjoint keys, by their log-sum-exps (the
// softmax rescaling of FlashAttention; Dao et al., 2022).
#pragma once

#include "device/numeric.h"

namespace vllm::device {

// [tokens, heads, head_size]; strides in elements, the elements of a head adjacent.
struct AttentionOutput {
  void* data;
  int64_t token_stride;
  int64_t head_stride;
};

// [heads, tokens] f32; strides in elements.
struct LogSumExp {
  float* data;
  int64_t head_stride;
  int64_t token_stride;
};

struct MergeStates {
  const char* op;
  AttentionOutput out;
  AttentionOutput prefix;
  AttentionOutput suffix;
  LogSumExp out_lse;  // data is null where it is not wanted
  LogSumExp prefix_lse;
  LogSumExp suffix_lse;
  int64_t tokens;
  int64_t heads;
  int64_t head_size;
  Type type;
  Stream stream;
};
// Where neither part saw a key (both log-sum-exps are infinite) the prefix is copied and the
// log-sum-exp is -inf.
void MergeAttentionStates(const MergeStates& merge);

}  // namespace vllm::device
