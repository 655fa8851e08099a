// Attention of query tokens over a paged KV cache: prefill, decode, chunks of prompts and mixtures
// of them.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/fetch_ahead.h"
#include "cpu/kv_code.h"

namespace vllm {

inline constexpr int64_t kMaxHeadSize = 256;

enum class KvLayout {
  kRows,      // key and value [blocks, block_size, kv_heads, head_size], any strides but the last
  kSplitKey,  // key [blocks, kv_heads, head_size / x, block_size, x] with x = 16 bytes,
              // value [blocks, kv_heads, head_size, block_size]; inner dimensions contiguous
  kPacked,    // key [blocks, kv_heads, head_size / p, block_size, p],
              // value [blocks, kv_heads, block_size / p, head_size, p] with p = 2 for bf16, else 1:
              // operands of dot products as they are; block_size a multiple of 16
};

// Strides in elements; `slot` is for kRows only.
struct KvStrides {
  int64_t block;
  int64_t slot;
  int64_t head;
};

// Sequence i has the query tokens query_start[i] .. query_start[i + 1], which are its last
// positions. A token at position p sees positions max(0, p - sliding_window + 1) .. p of its own
// sequence.
struct AttentionArgs {
  void* out;          // [tokens, heads, head_size]
  const void* query;  // [tokens, heads, head_size]
  int64_t out_token_stride, out_head_stride;
  int64_t query_token_stride, query_head_stride;
  const void* key_cache;
  const void* value_cache;
  KvStrides key_strides, value_strides;
  KvLayout layout;
  const int32_t* query_start;  // [seqs + 1], or null: one token a sequence
  const int32_t* seq_lens;     // [seqs], query tokens included
  const int32_t* block_table;  // [seqs, ...]
  int64_t block_table_stride;
  int64_t seqs, heads, kv_heads, head_size,
      block_size;  // head_size a multiple of 8 up to kMaxHeadSize
  float scale;
  int64_t sliding_window;  // 0: off
  float soft_cap;          // logits become soft_cap * tanh(logit / soft_cap); 0: off
  const float*
      alibi_slopes;  // [heads]: logits gain slope * (key position - query position); or null
  float* lse;        // [heads, tokens]: log of the sum of exponentials; or null
  int64_t lse_stride;
  DType dtype;  // of query and out, and of the caches where they hold no codes
  KvCode code;  // not kNone: caches hold 8-bit codes in the packed layout that `dtype` has
  KvScales key_scales, value_scales;

  int64_t QueryBegin(int64_t seq) const { return query_start ? query_start[seq] : seq; }
  int64_t QueryLen(int64_t seq) const {
    return query_start ? query_start[seq + 1] - query_start[seq] : 1;
  }
};

// A row's result depends on its own sequence up to its position only: bit for bit the same in any
// batch, however its prompt is chunked, and for any number of threads.
void PagedAttention(const AttentionArgs& args);

// The blocks of the cache that PagedAttention will read, where they are packed.
void AddAttentionReads(const AttentionArgs& args, FetchAhead* ahead);

}  // namespace vllm
