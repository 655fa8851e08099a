// Sums and maxima over a wave and over a block; every thread gets the result. The order of
// additions depends on the block's size and the wave's, never on timing.
#pragma once

#include "device/compat.h"

namespace vllm::device {

#if VLLM_KERNELS

struct Sum {
  template <typename T>
  static VLLM_DEVICE T Of(T a, T b) {
    return a + b;
  }
  static constexpr float kNeutral = 0.0f;
};
struct Max {
  static VLLM_DEVICE float Of(float a, float b) { return fmaxf(a, b); }
  static constexpr float kNeutral = -3.402823466e38f;
};

// Over groups of `width` neighbouring lanes, a power of two.
template <typename Op, typename T>
VLLM_DEVICE T ReduceLanes(T value, int width) {
  for (int mask = width / 2; mask > 0; mask /= 2) value = Op::Of(value, ShuffleXor(value, mask));
  return value;
}

template <typename Op, typename T>
VLLM_DEVICE T ReduceWave(T value) {
  return ReduceLanes<Op>(value, WaveSize());
}

// scratch: kMaxWaves floats of shared memory, free again once every thread has passed the next
// __syncthreads().
template <typename Op>
VLLM_DEVICE float ReduceBlock(float value, float* scratch) {
  value = ReduceWave<Op>(value);
  if (LaneId() == 0) scratch[WaveId()] = value;
  __syncthreads();
  value = LaneId() < NumWaves() ? scratch[LaneId()] : Op::kNeutral;
  return ReduceWave<Op>(value);
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
