// How keys and values lie in an 8-bit KV cache.
#pragma once

#include <cstdint>

namespace vllm {

enum class KvCode : uint8_t {
  kNone,  // elements of the model's type
  kInt8,
  kE4m3,  // fp8: 4 bits of exponent (bias 7), 3 of mantissa, largest 448
  kE5m2,  // fp8: 5 bits of exponent (bias 15), 2 of mantissa, largest 57344
};

inline float LargestValue(KvCode code) {
  return code == KvCode::kInt8 ? 127.0f : code == KvCode::kE4m3 ? 448.0f : 57344.0f;
}

// What codes are multiplied by: `each` [blocks, kv_heads, block_size], a factor for the head of a
// token; or, where that is null, `all`.
struct KvScales {
  float* each;
  int64_t block_stride, head_stride;
  float all;

  float* At(int64_t block, int64_t kv_head, int64_t slot) const {
    return each + block * block_stride + kv_head * head_stride + slot;
  }
};

}  // namespace vllm
