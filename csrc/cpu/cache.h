// Writes to the paged key and value cache. Elements are copied as they are, so only their size
// matters.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vllm {

// key and value [tokens, heads, head_size]; strides in elements, the elements of a head adjacent.
struct CacheInput {
  const void* data;
  int64_t token_stride;
  int64_t head_stride;
};

// The flash layout: [blocks, block_size, heads, head_size], elements of a head adjacent.
struct FlashCacheArgs {
  CacheInput inputs[2];  // key, value
  void* caches[2];
  int64_t block_strides[2];
  int64_t slot_strides[2];
  int64_t head_strides[2];
  int64_t tokens;
  int64_t heads;
  int64_t head_size;
  int64_t block_size;
  const int64_t* slots;  // negative: skipped
  size_t element_size;
};
void ReshapeAndCacheFlash(const FlashCacheArgs& args);

// The classic layout, contiguous: keys [blocks, heads, head_size / x, block_size, x],
// values [blocks, heads, head_size, block_size].
struct ClassicCacheArgs {
  CacheInput key;
  CacheInput value;
  void* key_cache;
  void* value_cache;
  int64_t tokens;
  int64_t heads;
  int64_t head_size;
  int64_t block_size;
  int64_t x;
  const int64_t* slots;  // negative: skipped
  size_t element_size;   // 2 or 4
};
void ReshapeAndCache(const ClassicCacheArgs& args);

// Latents: [blocks, block_size, rank + rope_size], the elements of a slot adjacent.
struct LatentCacheArgs {
  const void* latent;  // [tokens, rank]
  const void* rope;    // [tokens, rope_size]
  void* cache;
  int64_t latent_stride;
  int64_t rope_stride;
  int64_t block_stride;
  int64_t slot_stride;
  int64_t tokens;
  int64_t rank;
  int64_t rope_size;
  int64_t block_size;
  const int64_t* slots;  // negative: skipped
  size_t element_size;
};
void ConcatAndCacheLatents(const LatentCacheArgs& args);

// Copies blocks of `block_bytes` from src to dst: pairs (source block, destination block), in
// order.
void SwapBlocks(const void* src, void* dst, int64_t block_bytes, const int64_t* pairs,
                int64_t count);

}  // namespace vllm
