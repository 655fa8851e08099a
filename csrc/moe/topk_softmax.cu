#include "device/dispatch.h"
#include "device/reduce.h"
#include "moe/routing.h"

namespace vllm::device {
namespace {

constexpr int kLanes = 32;  // of a token; a wave of 64 takes two tokens
constexpr int kTokens = 8;  // of a block

VLLM_DEVICE uint64_t LargestOfLanes(uint64_t key) {
  for (int mask = kLanes / 2; mask > 0; mask /= 2) {
    const uint64_t other = ShuffleXor(key, mask);
    key = other > key ? other : key;
  }
  return key;
}

// Higher for a larger logit, then for a lower expert. 0 is below every key.
VLLM_DEVICE uint64_t KeyOf(float logit, int expert) {
  const uint32_t bits = BitCast<uint32_t>(IsNan(logit) ? -INFINITY : logit + 0.0f);
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | (0xffffffffu - static_cast<uint32_t>(expert));
}

template <typename T>
__global__ void TopkSoftmaxKernel(TopkSoftmax a) {
  VLLM_DYNAMIC_SHARED(memory);
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int slot = static_cast<int>(threadIdx.x) / kLanes;
  const int64_t token = int64_t{blockIdx.x} * kTokens + slot;
  const bool used = token < a.tokens;
  // Each lane reads only what it wrote: expert e belongs to lane e % kLanes.
  float* logits = reinterpret_cast<float*>(memory) + slot * a.experts;
  float largest = Max::kNeutral;
  for (int e = lane; used && e < a.experts; e += kLanes) {
    logits[e] = ToFloat(static_cast<const T*>(a.gating)[token * a.gating_stride + e]);
    largest = fmaxf(largest, logits[e]);
  }
  largest = ReduceLanes<Max>(largest, kLanes);
  float sum = 0.0f;
  for (int e = lane; used && e < a.experts; e += kLanes) sum += expf(logits[e] - largest);
  sum = ReduceLanes<Sum>(sum, kLanes);
  uint64_t previous = ~uint64_t{0};
  for (int k = 0; k < a.top_k; ++k) {
    uint64_t best = 0;
    for (int e = lane; used && e < a.experts; e += kLanes) {
      const uint64_t key = KeyOf(logits[e], e);
      if (key < previous && key > best) best = key;
    }
    best = LargestOfLanes(best);
    previous = best;
    const int expert = static_cast<int>(0xffffffffu - static_cast<uint32_t>(best));
    if (!used || expert % kLanes != lane) continue;
    const int64_t at = token * a.top_k + k;
    a.weights[at] = expf(logits[expert] - largest) / sum;
    a.indices[at] = expert;
    a.row_of_choice[at] = static_cast<int32_t>(k * a.tokens + token);
  }
}

}  // namespace

void RunTopkSoftmax(const TopkSoftmax& a) {
  DispatchFloat(a.op, a.type, [&](auto tag) {
    Launch({a.op, CeilDiv(a.tokens, kTokens), 1, 1, kTokens * kLanes,
            kTokens * static_cast<size_t>(a.experts) * sizeof(float)},
           a.stream, TopkSoftmaxKernel<typename decltype(tag)::type>, a);
  });
}

}  // namespace vllm::device
