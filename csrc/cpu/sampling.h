// One token from each row of logits, without sorting the vocabulary.
#pragma once

#include <cstdint>

namespace vllm {

// Rows are sampled by inverting the cumulative distribution of softmax(logits / temperature) over
// the tokens that min_p, top_k and top_p leave, in the order of token ids. Tokens that tie with the
// last one kept are kept.
struct SampleArgs {
  const float* logits;
  int64_t row_stride;
  int64_t rows;
  int64_t vocab;             // at least 1, below 2^31
  const float* temperature;  // [rows]; 0: the likeliest token, the lowest id of several
  const int32_t* top_k;      // [rows]; 0: off
  const float* top_p;        // [rows]; 1: off
  const float* min_p;        // [rows]; relative to the likeliest token; 0: off
  const float* uniform;      // [rows] in [0, 1)
  int64_t* tokens;           // [rows]
};
void SampleTokens(const SampleArgs& args);

}  // namespace vllm
