// Selection of the k-th largest of floats by their bits, eight at a time, by one block.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

#if VLLM_KERNELS

constexpr int kRadixBins = 256;

// Orders as the floats do, both zeros as equals; NaN is the largest.
VLLM_DEVICE uint32_t OrderedBits(float x) {
  const uint32_t bits = BitCast<uint32_t>(x + 0.0f);
  if (IsNan(x)) return 0xffffffffu;
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

struct RadixScratch {
  int bins[kRadixBins];
  uint32_t prefix;
  int wanted;
};

// Of `count` values, value(i): the ordered bits of the k-th largest (1 <= k <= count). `ties`
// becomes how many values equal to it are among the k largest. Every thread of the block calls it.
template <typename Value>
VLLM_DEVICE uint32_t KthLargest(int64_t count, int k, RadixScratch& scratch, int& ties,
                                Value&& value) {
  if (threadIdx.x == 0) {
    scratch.prefix = 0;
    scratch.wanted = k;
  }
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = threadIdx.x; i < kRadixBins; i += blockDim.x) scratch.bins[i] = 0;
    __syncthreads();
    const uint32_t prefix = scratch.prefix;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
      const uint32_t bits = OrderedBits(value(i));
      // The bits above those of this round are known.
      if (shift == 24 || bits >> (shift + 8) == prefix) {
        atomicAdd(&scratch.bins[(bits >> shift) & (kRadixBins - 1)], 1);
      }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int bin = kRadixBins - 1, wanted = scratch.wanted;
      while (bin > 0 && scratch.bins[bin] < wanted) wanted -= scratch.bins[bin--];
      scratch.prefix = (prefix << 8) | static_cast<uint32_t>(bin);
      scratch.wanted = wanted;
    }
    __syncthreads();
  }
  ties = scratch.wanted;
  return scratch.prefix;
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
