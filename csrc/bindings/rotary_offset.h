// A check that the rotations of the CPU and of devices share.
#pragma once

#include "bindings/tensor.h"

namespace vllm {

// cos_sin_cache [max_position, rotary_size]: rotary_size elements from `offset` on lie in a head.
inline void CheckRotaryOffset(const TensorView& cos_sin_cache, int64_t offset, int64_t head_size) {
  const int64_t limit = head_size - cos_sin_cache.Size(1);
  if (offset >= 0 && offset <= limit) return;
  Fail(cos_sin_cache, "comes with rope_dim_offset " + std::to_string(offset) + ", expected 0 to " +
                          std::to_string(limit) + " = head_size - rotary_size");
}

}  // namespace vllm
