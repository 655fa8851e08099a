// Filters over the distributions in the rows of a matrix, and draws from what they leave. Nothing
// is sorted or drawn twice: filters are thresholds that a radix selection finds, and a draw inverts
// the cumulative distribution.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

// One value a row, or one for all rows where `values` is null.
template <typename T>
struct PerRow {
  const T* values;
  T value;

  VLLM_DEVICE T Of(int64_t row) const { return values ? values[row] : value; }
};

// Tokens that a row keeps, equals of the last one included: those of the top_k largest values; of
// these, those with at least min_p of the largest weight; and of these the heaviest that together
// have top_p of the weight.
struct Distributions {
  const char* op;
  const void* values;  // [rows, columns]
  int64_t row_stride;
  int64_t rows;
  int64_t columns;
  bool logits;  // weights are e^(value / temperature), else the values; NaN counts as no weight
  bool joint;   // top_p is of the weight of all tokens, not of those that the other filters leave
  PerRow<float> temperature;  // at 0, the largest logits have all the weight
  PerRow<int32_t> top_k;      // 0: all
  PerRow<float> top_p;        // 1: all
  PerRow<float> min_p;        // 0: all
  Type type;
  Stream stream;
};

// Value i is values[i * stride], or `value` where `values` is null.
struct PerSample {
  const int64_t* values;
  int64_t stride;  // 0: one for all
  int64_t value;

  VLLM_DEVICE uint64_t Of(int64_t i) const {
    return static_cast<uint64_t>(values ? values[i * stride] : value);
  }
};

struct Sampling {
  Distributions from;
  int64_t count;
  const void* indices;  // [count], row of each sample; null: sample i is of row i
  void* samples;        // [count], columns
  bool wide;            // samples and indices are i64, else i32
  bool* valid;          // [count] or null: whether any token could be drawn; the sample is 0 if not
  PerSample seed;
  PerSample offset;
};
// Sample i is a function of its row, of seed and offset and, where all samples share one seed, of
// i: weights are summed as integers, so that no order of summation matters.
void DrawSamples(const Sampling& args);

enum class Kept { kProbability, kValue };

struct Filtering {
  Distributions from;
  void* out;  // [rows, columns], contiguous
  Type out_type;
  // kProbability: share of the kept weight, 0 for the others; kValue: the value, -infinity for the
  // others.
  Kept kept;
};
void FilterRows(const Filtering& args);

}  // namespace vllm::device
