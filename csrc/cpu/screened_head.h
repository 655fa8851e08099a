// The likeliest token of each row without all of its logits: an 8-bit copy of the output head says
// which tokens may have the largest logit, and only theirs are computed.
//
// Of an input row x and a weight row w, rounded to x' and w' by the quantised kernel,
//   |x w - x' w'| <= |x| |w - w'| + |x - x'| |w'|      (Euclidean norms, Cauchy-Schwarz)
// so a token whose bound is below what another one reaches at least can be left out. What is left
// is computed by the head's own kernel, so that tokens are those of the full logits, ties included.
#pragma once

#include <cstdint>

#include "cpu/linear.h"
#include "cpu/quantized_linear.h"

namespace vllm {

// Columns of the input that share a scale: one large value costs only its neighbours precision.
inline constexpr int64_t kScreenGroup = 256;

// The 8-bit copy of a weight [n, k]: a scale for each row.
QuantizedWeight ScreenOf(int64_t n, int64_t k);

// Of one panel of the weight, the largest norms of its rows.
struct ScreenNorms {
  float error;  // |w - w'|
  float norm;   // |w'|
};

// weight [n, k], rows `row_stride` elements apart. Writes ScreenOf(n, k).PackedBytes() bytes to
// `packed`, and `norms` [panels].
void ScreenHead(const void* weight, int64_t row_stride, int64_t n, int64_t k, DType dtype,
                void* packed, ScreenNorms* norms);

struct ScreenedArgmaxArgs {
  LinearWeight head;  // kPlain, at least one row
  QuantizedWeight screen;
  const ScreenNorms* norms;
  const void* input;  // [m, k], head.dtype
  int64_t m;
  int64_t input_stride;  // elements between rows
  int64_t* tokens;       // [m]; of equal logits the first; 0 where all are NaN
  float* logits;         // [m], theirs; -infinity where all are NaN
};
// Returns how many panels were computed for how many rows: at most m times the head's panels.
int64_t ScreenedArgmax(const ScreenedArgmaxArgs& args);

}  // namespace vllm
