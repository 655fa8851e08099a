// Scales and values of dynamic quantisation, shared by every kernel that quantises what it made.
#pragma once

#include "device/reduce.h"
#include "device/rows.h"

namespace vllm::device {

// Scales of groups of elements within rows: element [row, group] at row * row_stride + group *
// group_stride.
struct GroupScales {
  float* data;
  int64_t row_stride;
  int64_t group_stride;
  int group_size;
};

#if VLLM_KERNELS

// A scale for values up to `largest`; `upper` bounds them where it is not null. Never 0, so that
// rows of zeros quantise to zeros.
template <typename Q>
VLLM_DEVICE float DynamicScale(float largest, const float* upper) {
  constexpr float kMax = Converter<Q>::kMax;
  constexpr float kSmallest =
      sizeof(Q) == 1 && kMax > 127.0f ? 1.0f / (kMax * 512.0f) : 1.1920929e-7f;
  if (upper) largest = fminf(largest, *upper);
  return fmaxf(largest / kMax, kSmallest);
}

// x as a tensor of type T holds it.
template <typename T, int kCount>
VLLM_DEVICE Vector<float, kCount> RoundVector(const Vector<float, kCount>& x) {
  return Widen(Narrow<T>(x));
}

template <typename Q, int kCount>
VLLM_DEVICE Vector<Q, kCount> QuantizeVector(const Vector<float, kCount>& x, float scale) {
  Vector<Q, kCount> out;
  VLLM_UNROLL()
  for (int i = 0; i < kCount; ++i) out.lanes[i] = FromFloat<Q>(x.lanes[i] / scale);
  return out;
}

template <int kCount>
VLLM_DEVICE float LargestMagnitude(const Vector<float, kCount>& x) {
  float largest = 0.0f;
  VLLM_UNROLL()
  for (int i = 0; i < kCount; ++i) largest = fmaxf(largest, fabsf(x.lanes[i]));
  return largest;
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
