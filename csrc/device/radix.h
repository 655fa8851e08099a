// Selection among floats by their bits, eight at a time, by one block: the k-th largest, or the one
// at which the largest have gathered a given mass.
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

// Mass is an integer type, so that sums do not depend on the order in which threads add.
template <typename Mass>
struct RadixScratchOf {
  Mass bins[kRadixBins];
  Mass wanted;
  uint32_t prefix;
};
using RadixScratch = RadixScratchOf<int>;

// Of `count` values, value(i), each with mass(i): the largest ordered bits such that values with at
// least these bits have `wanted` mass or more together; 0 where all of them have less. `rest`
// becomes what of `wanted` those equal to the result must give. Every thread of the block calls it.
template <typename Mass, typename Value, typename MassOf>
VLLM_DEVICE uint32_t LargestReaching(int64_t count, Mass wanted, RadixScratchOf<Mass>& scratch,
                                     Mass& rest, Value&& value, MassOf&& mass) {
  if (threadIdx.x == 0) {
    scratch.prefix = 0;
    scratch.wanted = wanted;
  }
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = threadIdx.x; i < kRadixBins; i += blockDim.x) scratch.bins[i] = 0;
    __syncthreads();
    const uint32_t prefix = scratch.prefix;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
      const uint32_t bits = OrderedBits(value(i));
      // The bits above those of this round are known.
      if (shift == 24 || bits >> (shift + 8) == prefix) {
        atomicAdd(&scratch.bins[(bits >> shift) & (kRadixBins - 1)], mass(i));
      }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int bin = kRadixBins - 1;
      Mass left = scratch.wanted;
      while (bin > 0 && scratch.bins[bin] < left) left -= scratch.bins[bin--];
      scratch.prefix = (prefix << 8) | static_cast<uint32_t>(bin);
      scratch.wanted = left;
    }
    __syncthreads();
  }
  rest = scratch.wanted;
  return scratch.prefix;
}

// The ordered bits of the k-th largest of `count` values (1 <= k <= count). `ties` becomes how many
// values equal to it are among the k largest.
template <typename Value>
VLLM_DEVICE uint32_t KthLargest(int64_t count, int k, RadixScratch& scratch, int& ties,
                                Value&& value) {
  return LargestReaching(count, k, scratch, ties, value, [](int64_t) { return 1; });
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
