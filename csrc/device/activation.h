// Activation functions of rows, computed in f32 and rounded once; the gated ones with silu also
// quantised.
#pragma once

#include "device/quantize.h"

namespace vllm::device {

enum class Activation : uint8_t {
  // Of rows [a, b] of 2 * size elements:
  kSiluAndMul,      // silu(a) * b
  kMulAndSilu,      // a * silu(b)
  kGeluAndMul,      // gelu(a) * b
  kGeluTanhAndMul,  // gelu_tanh(a) * b
  kFatreluAndMul,   // (a > threshold ? a : 0) * b; threshold in params[0]
  // Of rows of pairs (g, u), neighbours in memory: g' = min(g, limit),
  // u' = clamp(u, -limit, limit), (u' + 1) * g' * sigmoid(alpha * g'); alpha and limit in params
  kSwigluOaiAndMul,
  // Of single elements:
  kGeluTanh,   // the tanh approximation: gelu_new and gelu_fast
  kGeluQuick,  // x * sigmoid(1.702 x)
};

struct Activate {
  const char* op;
  Rows out;    // rows of `size` elements
  Rows input;  // rows of `size` or 2 * `size` elements
  int64_t size;
  float params[2];
  Activation kind;
  Type type;
  Stream stream;
};
void RunActivation(const Activate& activate);

// silu(a) * b as e4m3 or int8 with one scale (`scale`) or with a scale a group (`scales`).
struct SiluQuant {
  const char* op;
  Rows out;
  Rows input;
  int64_t size;
  const float* scale;
  GroupScales scales;
  const float* scale_upper;
  Type type;
  Type out_type;
  Stream stream;
};
void RunSiluAndMulQuant(const SiluQuant& quant);

}  // namespace vllm::device
