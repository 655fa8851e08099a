// Products of a weight and a few rows of activations, bound by how fast the weight is read:
// out[n, m] = scale * a[m, k] b[n, k]^T + bias[m]. Rows start at multiples of 16 bytes.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

struct SkinnyGemm {
  const char* op;
  const void* a;  // the weight
  const void* b;
  void* out;             // contiguous rows
  const void* bias;      // [m] of out's type, or nullptr
  const float* a_scale;  // of e4m3, else nullptr
  const float* b_scale;
  int64_t a_stride;  // in elements, as all strides
  int64_t b_stride;
  int64_t m;
  int64_t n;
  int64_t k;
  Type type;      // of a and b: bf16, f16 or e4m3
  Type out_type;  // bf16 or f16; where a and b are one of them, theirs
  Stream stream;
};

void RunSkinnyGemm(const SkinnyGemm& gemm);

}  // namespace vllm::device
