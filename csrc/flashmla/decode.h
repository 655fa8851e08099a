// Decode attention of models with latent attention (MLA; DeepSeek-V2, 2024), whose cache holds one
// vector a token for all heads: the latent, which is the value too, then the key's rotated part.
// bf16 and f16; sums and the softmax are f32.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

constexpr int kMlaRank = 512;   // of the latent
constexpr int kMlaWidth = 576;  // of a slot, at most

// Splits as in flash_attention.h: partial_out [splits, heads, seqs * tokens, kMlaRank] and
// partial_lse in place of out and lse.
struct MlaDecode {
  const char* op;
  void* out;          // [seqs, tokens, heads, kMlaRank]
  float* lse;         // [seqs, tokens, heads]; -inf where a query sees no key, and zeros in out
  const void* query;  // [seqs, tokens, heads, width]
  const void* cache;  // [blocks, block_size, width]
  const int32_t* block_table;  // [seqs, max_blocks]; entries outside the cache read a block inside
  const int32_t* seq_lens;     // [seqs], the query's tokens included
  int64_t query_seq_stride;
  int64_t query_token_stride;
  int64_t query_head_stride;
  int64_t block_stride;
  int64_t slot_stride;
  int64_t table_stride;
  int64_t max_blocks;
  int64_t num_blocks;
  int64_t seqs;
  int tokens;  // of a query
  int heads;
  int width;  // a multiple of 16, kMlaRank to kMlaWidth
  int block_size;
  bool causal;
  float scale;
  int splits;
  float* partial_out;
  float* partial_lse;
  Type type;
  Stream stream;
};

// Rows of a block of threads: pairs of a token and a head.
constexpr int kMlaRows = 64;

void RunMlaDecode(const MlaDecode& decode);

}  // namespace vllm::device
