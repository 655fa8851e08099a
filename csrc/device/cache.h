// Writes to, copies of and reads from the paged KV cache on a device.
// Slots outside the cache and block numbers outside the table's cache are skipped: they cannot be
// checked on the host.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

// [tokens, heads, head_size], strides in elements, the elements of a head adjacent.
struct CacheInput {
  const void* data;
  int64_t token_stride;
  int64_t head_stride;
};

// Of 8-bit caches, which hold key / scale: one of a head is at head * stride.
struct CacheScale {
  const float* data;
  int64_t stride;
};

struct CacheWrite {
  const char* op;
  CacheInput key;
  CacheInput value;
  void* key_cache;
  void* value_cache;
  const int64_t* slots;  // [tokens]; negative: skipped
  CacheScale k_scale;
  CacheScale v_scale;
  int64_t tokens;
  int64_t heads;
  int64_t head_size;
  int64_t block_size;
  int64_t num_slots;  // blocks * block_size
  Type type;          // of key and value
  Type cache_type;    // the same or an 8-bit float
  Stream stream;
};

// The classic layout: keys [blocks, heads, head_size / x, block_size, x] with x elements in 16
// bytes, values [blocks, heads, head_size, block_size].
void ReshapeAndCache(const CacheWrite& write);

// The flash layout: [blocks, block_size, heads, head_size] with any strides but the last, which
// is 1.
struct FlashStrides {
  int64_t block;
  int64_t slot;
  int64_t head;
};
void ReshapeAndCacheFlash(const CacheWrite& write, FlashStrides key, FlashStrides value);

// MLA: one vector of `rank` + `rope` elements a slot, [blocks, block_size, rank + rope].
struct MlaWrite {
  const char* op;
  const void* latent;  // [tokens, rank]
  const void* rope;    // [tokens, rope_size]
  int64_t latent_stride;
  int64_t rope_stride;
  void* cache;
  int64_t block_stride;
  int64_t slot_stride;
  const int64_t* slots;
  const float* scale;
  int64_t tokens;
  int64_t rank;
  int64_t rope_size;
  int64_t block_size;
  int64_t num_slots;
  Type type;
  Type cache_type;
  Stream stream;
};
void ConcatAndCacheMla(const MlaWrite& write);

// Rows of sequences out of a paged cache [blocks, block_size, width] into dst [tokens, width].
struct Gather {
  const char* op;
  const void* cache;
  int64_t block_stride;
  int64_t slot_stride;
  void* dst;
  int64_t dst_stride;
  const int32_t* block_table;  // [seqs, max_blocks]
  int64_t table_stride;
  int64_t max_blocks;
  const int32_t* cu_seq_lens;   // [seqs + 1]
  const int32_t* token_to_seq;  // [tokens], or nullptr: found in cu_seq_lens
  const int32_t* seq_starts;    // [seqs] tokens skipped at the front of each sequence, or nullptr
  const float* scale;           // of an 8-bit cache that is dequantised, else nullptr
  int64_t seqs;
  int64_t tokens;
  int64_t width;
  int64_t block_size;
  int64_t num_blocks;
  Type cache_type;
  Type type;  // of dst: that of the cache, or a wider one; kInt8: bytes of both, whatever they mean
  Stream stream;
};
void GatherCache(const Gather& gather);

// dst[i] = src[i] converted: to 8 bits divided by `scale`, from 8 bits multiplied by it.
void ConvertFp8(const char* op, void* dst, Type dst_type, const void* src, Type src_type,
                int64_t count, float scale, Stream stream);

// Blocks (source, destination) of `block_bytes` between two places, either of which may be pinned
// host memory. Pairs are host memory; copies are queued in order.
void SwapBlocks(const char* op, const void* src, void* dst, int64_t block_bytes,
                const int64_t* pairs, int64_t count, Stream stream);

}  // namespace vllm::device
