// Decode attention over the classic layout of the paged cache: one query token a sequence.
// Keys [blocks, kv_heads, head_size / x, block_size, x] with x elements in 16 bytes,
// values [blocks, kv_heads, head_size, block_size].
#pragma once

#include "device/numeric.h"

namespace vllm::device {

constexpr int kPartitionTokens = 512;  // of paged_attention_v2; part of the op's interface

struct PagedAttention {
  const char* op;
  void* out;          // [seqs, heads, head_size]
  const void* query;  // [seqs, heads, head_size]
  const void* key_cache;
  const void* value_cache;
  const int32_t* block_table;  // [seqs, max_blocks]; entries outside the cache read a block inside
  const int32_t* seq_lens;     // [seqs]
  // [seqs + 1]: each sequence's first row of query and out; those of another number of rows than
  // one are left alone. nullptr: one row a sequence.
  const int32_t* query_start;
  const float* alibi_slopes;  // [heads] or nullptr
  const float* k_scale;       // of an 8-bit cache, else nullptr
  const float* v_scale;
  int64_t out_seq_stride;  // in elements, as all strides
  int64_t out_head_stride;
  int64_t query_seq_stride;
  int64_t query_head_stride;
  int64_t key_block_stride;
  int64_t key_head_stride;
  int64_t value_block_stride;
  int64_t value_head_stride;
  int64_t table_stride;
  int64_t max_blocks;
  int64_t num_blocks;
  int64_t seqs;
  int heads;
  int kv_heads;
  int head_size;   // a multiple of 16, at most 256
  int block_size;  // 8, 16 or 32
  float scale;
  // Of v2, else 0 and nullptr: [seqs, heads, partitions] f32, and [seqs, heads, partitions,
  // head_size] in the query's type.
  int64_t partitions;
  float* exp_sums;
  float* max_logits;
  void* partial_out;
  Type type;
  Type cache_type;
  Stream stream;
};

void RunPagedAttention(const PagedAttention& attention);

}  // namespace vllm::device
