// RMS normalization over the last dimension (Zhang and Sennrich, 2019): x / sqrt(mean(x^2) +
// epsilon) * weight.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/rows.h"

namespace vllm {

// [size], or [count, size], contiguous, each for as many rows, one after the other.
struct NormWeight {
  const void* data;  // null: factors of 1
  int64_t rows;      // that each serves
};

// Tensors share `dtype`; rows of `size` elements; sums in f32.
struct RmsNormArgs {
  void* out;
  const void* input;
  NormWeight weight;
  RowLayout out_rows;
  RowLayout input_rows;
  int64_t size;
  float epsilon;
  DType dtype;
};
void RmsNorm(const RmsNormArgs& args);

// residual += input, rounded to dtype; input = RmsNorm(residual).
struct FusedAddRmsNormArgs {
  void* input;
  void* residual;
  NormWeight weight;
  RowLayout input_rows;
  RowLayout residual_rows;
  int64_t size;
  float epsilon;
  DType dtype;
};
void FusedAddRmsNorm(const FusedAddRmsNormArgs& args);

}  // namespace vllm
