// Activation functions, computed in f32 and rounded once.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/rows.h"

namespace vllm {

enum class Activation : uint8_t {
  // Of rows [a, b] of 2 * size elements:
  kSiluAndMul,      // silu(a) * b
  kMulAndSilu,      // a * silu(b)
  kGeluAndMul,      // gelu(a) * b
  kGeluTanhAndMul,  // gelu_tanh(a) * b
  kFatreluAndMul,   // (a > threshold ? a : 0) * b; threshold in params[0]
  // Of rows of pairs (g, u), neighbours in memory: g' = min(g, limit), u' = clamp(u, -limit,
  // limit),
  // (u' + 1) * g' * sigmoid(alpha * g'); alpha and limit in params
  kSwigluOaiAndMul,
  // Of single elements:
  kGeluTanh,   // the tanh approximation: gelu_new and gelu_fast
  kGeluQuick,  // x * sigmoid(1.702 x)
};

struct ActivationArgs {
  void* out;          // rows of `size` elements
  const void* input;  // rows of `size` or 2 * `size` elements
  RowLayout out_rows;
  RowLayout input_rows;
  int64_t size;
  float params[2];
  Activation kind;
  DType dtype;
};
void Activate(const ActivationArgs& args);

}  // namespace vllm
