// Joins what the splits of an attention found, each over its own keys, into the attention over all
// of them.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

struct JoinSplitsArgs {
  const char* op;
  const float* partial_out;  // [splits, heads, tokens, width]; not read where partial_lse is -inf
  const float* partial_lse;  // [splits, heads, tokens]
  void* out;                 // [tokens, heads, width]
  int64_t out_token_stride;
  int64_t out_head_stride;
  float* lse;  // [heads, tokens] or nullptr; -inf where no split saw a key, and zeros in out
  int64_t lse_token_stride;
  int64_t lse_head_stride;
  int64_t tokens;
  const int32_t* used_tokens;  // those from here on are no sequence's; nullptr: all are
  int heads;
  int width;
  int splits;
  Type type;
  Stream stream;
};

void JoinSplits(const JoinSplitsArgs& args);

struct PlanSplitsArgs {
  const char* op;
  const int32_t* seq_lens;  // [seqs]
  int32_t* splits;          // [seqs]
  int64_t seqs;
  int64_t longest;  // sequence, which gets `limit` splits
  int limit;
  Stream stream;
};

// As many splits for each sequence as give all of them parts of about one length.
void PlanSplits(const PlanSplitsArgs& args);

// How many splits fill the current device, where without any there are `blocks` blocks of threads
// of `tiles` tiles of keys each; 1 to `limit`.
int SplitsFor(int64_t blocks, int64_t tiles, int limit);

}  // namespace vllm::device
