// Penalties that lower the logits of tokens seen before.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace vllm {

// Rows of `vocab` logits; a token in either mask has a positive logit divided by the row's penalty,
// a negative one multiplied by it (CTRL; Keskar et al., 2019).
struct RepetitionPenaltyArgs {
  void* logits;
  int64_t logits_stride;  // elements from row to row
  const bool* prompt_mask;
  int64_t prompt_stride;
  const bool* output_mask;
  int64_t output_stride;
  const float* penalties;  // [rows]
  int64_t rows;
  int64_t vocab;
  DType dtype;
};
void ApplyRepetitionPenalties(const RepetitionPenaltyArgs& args);

// The tokens that row r has seen are token_ids[row_offsets[r] .. row_offsets[r + 1]), each once;
// counts says how often the output holds it, 0 for one that only the prompt holds.
struct SparsePenaltyArgs {
  float* logits;
  int64_t logits_stride;
  const int32_t* row_offsets;  // [rows + 1]
  const int32_t* token_ids;
  const int32_t* counts;
  const float* repetition;  // [rows], on prompt and output
  const float* frequency;   // [rows], times the count
  const float* presence;    // [rows], where the count is positive
  int64_t rows;
};
void ApplySparsePenalties(const SparsePenaltyArgs& args);

}  // namespace vllm
