// Checks that the ops over a paged cache share.
#pragma once

#include "bindings/tensor.h"
#include "cpu/kv_code.h"

namespace vllm {

// slot_mapping: i64 [tokens], contiguous, every slot below `slots`; negative ones mean "skip".
void CheckSlots(const TensorView& slot_mapping, int64_t tokens, int64_t slots);

// Keys [blocks, kv_heads, head_size / pair, block_size, pair], values [blocks, kv_heads,
// block_size / pair, head_size, pair]; a head's part of a block contiguous.
void CheckPackedCaches(const TensorView& key_cache, const TensorView& value_cache,
                       int64_t head_size, int64_t pair);

// What the elements of a quantised cache are: int8, float8_e4m3fn or float8_e5m2.
KvCode CacheCode(const TensorView& cache);

// Scales of a packed quantised cache: f32 [1], or [blocks, kv_heads, block_size], contiguous.
// `key_cache` is [blocks, kv_heads, ., block_size, .].
KvScales CacheScales(const TensorView& scales, const TensorView& key_cache);

}  // namespace vllm
