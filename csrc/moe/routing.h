// Mixture of experts: which experts a token goes to, and where its copies lie among the experts'
// rows. A token's choices are numbered token * top_k + choice throughout; an expert id outside
// [0, experts) belongs to another rank and is left out.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

constexpr int kMaxExperts = 1024;

// Softmax over a token's experts and the largest top_k of it; of equal ones the lower expert.
struct TopkSoftmax {
  const char* op;
  const void* gating;  // [tokens, experts], rows contiguous
  int64_t gating_stride;
  float* weights;          // [tokens, top_k]
  int32_t* indices;        // [tokens, top_k]
  int32_t* row_of_choice;  // [tokens, top_k]: choice * tokens + token
  int64_t tokens;
  int experts;
  int top_k;
  Type type;
  Stream stream;
};
void RunTopkSoftmax(const TopkSoftmax& args);

// Choices ordered by expert, then by number, each expert's padded to a multiple of block_size with
// the number of choices.
struct AlignBlocks {
  const char* op;
  const int32_t* expert_ids;  // [choices]
  int64_t choices;
  int experts;
  int block_size;
  int32_t* sorted;  // [capacity]: numbers of choices; the rest is padding
  int64_t capacity;
  int32_t* block_experts;  // [block_capacity]: expert of each block; those beyond the last: -1
  int64_t block_capacity;
  int32_t* total;  // [1]: choices and padding of all experts
  Stream stream;
};
void AlignToBlocks(const AlignBlocks& args);

// Rows ordered by expert, then by the number of the choice.
struct Permute {
  const char* op;
  const void* input;  // [tokens, hidden], contiguous
  void* output;       // [choices, hidden], contiguous
  const int32_t* expert_ids;
  int64_t* first_row;  // [experts + 1]: where each expert's rows begin
  int32_t* row_of;     // [choices]: row of each choice; -1 for one that is left out
  int64_t choices;
  int64_t hidden;
  int experts;
  int top_k;
  Type type;
  Stream stream;
};
void PermuteRows(const Permute& args);

// out[token] = sum over choices of weight * row; without weights and row_of, choices lie in order
// and weigh 1.
struct Combine {
  const char* op;
  const void* rows;  // [choices, hidden], contiguous
  void* out;         // [tokens, hidden], contiguous
  const float* weights;
  const int32_t* row_of;
  int64_t tokens;
  int64_t hidden;
  int top_k;
  Type type;
  Stream stream;
};
void CombineRows(const Combine& args);

}  // namespace vllm::device
