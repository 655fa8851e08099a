// Penalties on the logits of tokens that were there before.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

struct RepetitionPenalties {
  const char* op;
  void* logits;  // [rows, vocab]
  int64_t row_stride;
  const bool* prompt_mask;  // [rows, vocab]; tokens in either mask are penalised
  int64_t prompt_stride;
  const bool* output_mask;
  int64_t output_stride;
  const void* penalties;  // [rows], f32 or `type`
  int64_t rows;
  int64_t vocab;
  Type type;
  Type penalty_type;
  Stream stream;
};
// Positive logits are divided by the penalty, others multiplied.
void ApplyRepetitionPenalties(const RepetitionPenalties& args);

// Tokens of row r are token_ids[row_offsets[r] ... row_offsets[r + 1]), each once.
struct SparsePenalties {
  const char* op;
  float* logits;  // [rows, vocab]
  int64_t row_stride;
  const int32_t* row_offsets;
  const int32_t* token_ids;  // those outside the vocabulary are skipped
  const int32_t* counts;     // how often the token was generated; 0: only in the prompt
  const float* repetition;   // [rows]
  const float* frequency;
  const float* presence;
  int64_t rows;
  int64_t vocab;
  int64_t tokens;
  Stream stream;
};
void ApplySparsePenalties(const SparsePenalties& args);

}  // namespace vllm::device
