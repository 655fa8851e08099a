// Attention of ragged batches over keys and values in rows, paged or one sequence after another
// (FlashAttention-2; Dao, 2023). bf16 and f16; sums and the softmax are f32.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

struct KeyStrides {
  int64_t block;
  int64_t slot;
  int64_t head;
};

// Keys and values are paged, [blocks, block_size, kv_heads, head_size], where there is a block
// table. Else they are dense, [keys, kv_heads, head_size]: blocks of one key, found by key_start.
// A query's position counts from the start of its sequence's keys; the last query stands at the
// last key.
struct FlashAttention {
  const char* op;
  void* out;          // [tokens, heads, head_size]
  const void* query;  // [tokens, heads, head_size]
  const void* keys;
  const void* values;
  const int32_t* query_start;  // [seqs + 1]
  const int32_t* key_start;    // [seqs + 1] of dense keys, else nullptr
  const int32_t* seq_lens;     // [seqs], keys; nullptr: all up to the next sequence's
  const int32_t* block_table;  // [seqs, max_blocks]; entries outside the cache read a block inside
  const float* alibi_slopes;   // [heads] or [seqs, heads], or nullptr
  const void* sinks;           // [heads] as query, or nullptr: a logit that has no value
  float* lse;                  // [heads, tokens] or nullptr
  int64_t lse_stride;
  int64_t out_token_stride;
  int64_t out_head_stride;
  int64_t query_token_stride;
  int64_t query_head_stride;
  KeyStrides key;
  KeyStrides value;
  int64_t slopes_stride;  // of sequences; 0: all have the same
  int64_t table_stride;
  int64_t max_blocks;
  int64_t num_blocks;
  int64_t tokens;
  int seqs;
  int heads;
  int kv_heads;
  int head_size;  // a multiple of 8, at most 256
  int block_size;
  int window_left;   // keys before its position that a query sees; negative: all
  int window_right;  // keys after it; 0: causal; negative: all
  float scale;
  float soft_cap;  // 0: none
  Type type;
  Stream stream;
  // With more than one split, each block of threads takes a part of its rows' keys and writes
  // partial_out [splits, heads, tokens, head_size] and partial_lse [splits, heads, tokens], f32, in
  // place of out and lse; JoinSplits (join_splits.h) makes those of them.
  int splits;
  const int32_t* seq_splits;  // [seqs], splits that a sequence uses; nullptr: all
  float* partial_out;
  float* partial_lse;
};

// Windows and sequences are at most this long.
constexpr int kMaxKeys = 1 << 30;

// For every GPU.
void RunFlashAttention(const FlashAttention& attention);

// Larger tiles, the next one copied while the present one is computed; needs 107 KB of shared
// memory in a block.
void RunPipelinedFlashAttention(const FlashAttention& attention);

}  // namespace vllm::device
