// Quantisation of activations to int8 and fp8 (e4m3), and products of int8 matrices with scales.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/rows.h"

namespace vllm {

struct ScaledQuantArgs {
  const void* input;
  void* out;  // int8 or e4m3
  RowLayout input_rows;
  RowLayout out_rows;
  int64_t size;  // of a row
  DType dtype;   // of input
  bool fp8;
  float* scales;         // one value (static: read), or one a row
  int32_t* zero_points;  // int8: one (static: read) or one a row; null: symmetric
  const float* upper;    // of the magnitude that a row's scale covers, or null
};

// out = input / scale (+ zero point), rounded to nearest even and saturated.
void QuantizeStatic(const ScaledQuantArgs& args);
// One scale for all: the largest magnitude becomes the largest code. fp8.
void QuantizePerTensor(const ScaledQuantArgs& args);
// One scale a row. With zero points a row's range is mapped to -128 ... 127, or, where it is narrow
// beside the row's magnitude, to a part of them.
void QuantizePerRow(const ScaledQuantArgs& args);

// out[i][j] = a_scale[i] * b_scale[j] * (sum of a[i] * b[j] - zero point[i] * adjust[j]) + bias[j],
// sums in 32 bits. Steps of 0 repeat one value.
struct ScaledMatmulArgs {
  const int8_t* a;  // rows of k
  const int8_t* b;  // columns of k
  int64_t a_stride, b_stride;
  int64_t m, n, k;
  const float* a_scales;
  const float* b_scales;
  int64_t a_scale_step, b_scale_step;
  const int32_t* adjust;       // [n], or null
  const int32_t* zero_points;  // [m], or null: 1
  const void* bias;            // [n] of out's type, or null
  void* out;
  int64_t out_stride;
  DType dtype;
};
void ScaledMatmul(const ScaledMatmulArgs& args);

}  // namespace vllm
