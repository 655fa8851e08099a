// Attention of ragged batches over a paged cache in rows, [blocks, block_size, kv_heads, head_size]
// (FlashAttention-2; Dao, 2023). bf16 and f16; sums and the softmax are f32.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

struct CacheStrides {
  int64_t block;
  int64_t slot;
  int64_t head;
};

struct FlashAttention {
  const char* op;
  void* out;          // [tokens, heads, head_size]
  const void* query;  // [tokens, heads, head_size]
  const void* key_cache;
  const void* value_cache;
  const int32_t* query_start;  // [seqs + 1]
  const int32_t* seq_lens;     // [seqs], the query's tokens included
  const int32_t* block_table;  // [seqs, max_blocks]; entries outside the cache read a block inside
  const float* alibi_slopes;   // [heads] or nullptr
  float* lse;                  // [heads, tokens] or nullptr
  int64_t lse_stride;
  int64_t out_token_stride;
  int64_t out_head_stride;
  int64_t query_token_stride;
  int64_t query_head_stride;
  CacheStrides key;
  CacheStrides value;
  int64_t table_stride;
  int64_t max_blocks;
  int64_t num_blocks;
  int64_t tokens;
  int seqs;
  int heads;
  int kv_heads;
  int head_size;  // a multiple of 8, at most 256
  int block_size;
  int sliding_window;  // tokens that a query sees, itself included; 0: all
  float scale;
  float soft_cap;  // 0: none
  Type type;
  Stream stream;
};

void RunFlashAttention(const FlashAttention& attention);

}  // namespace vllm::device
