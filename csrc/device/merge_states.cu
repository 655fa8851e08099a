#include "device/merge_states.h"

#include "device/dispatch.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 256;

VLLM_DEVICE float ReadLse(const LogSumExp& lse, int64_t token, int64_t head) {
  const float value = lse.data[token * lse.token_stride + head * lse.head_stride];
  // Attention kernels mark "no key" with either infinity.
  return isinf(value) ? -INFINITY : value;
}

template <typename T>
VLLM_DEVICE T* At(const AttentionOutput& x, int64_t token, int64_t head, int64_t d) {
  return static_cast<T*>(x.data) + token * x.token_stride + head * x.head_stride + d;
}

// A thread a vector.
template <typename T, int kVector>
__global__ void MergeKernel(MergeStates m) {
  const int64_t per_head = m.head_size / kVector;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= m.tokens * m.heads * per_head) return;
  const int64_t row = i / per_head, d = i % per_head * kVector;
  const int64_t token = row / m.heads, head = row % m.heads;
  const float p = ReadLse(m.prefix_lse, token, head), s = ReadLse(m.suffix_lse, token, head);
  const float largest = fmaxf(p, s);
  const bool none = isinf(largest);
  const float p_weight = none ? 1.0f : expf(p - largest),
              s_weight = none ? 0.0f : expf(s - largest);
  const float sum = p_weight + s_weight;
  const auto a = Widen(LoadVector<kVector>(At<const T>(m.prefix, token, head, d)));
  const auto b = Widen(LoadVector<kVector>(At<const T>(m.suffix, token, head, d)));
  Vector<float, kVector> out;
  VLLM_UNROLL()
  for (int j = 0; j < kVector; ++j) {
    // A part that saw no key may hold anything, NaN included.
    const float from_prefix = p_weight > 0.0f ? a.lanes[j] * (p_weight / sum) : 0.0f;
    const float from_suffix = s_weight > 0.0f ? b.lanes[j] * (s_weight / sum) : 0.0f;
    out.lanes[j] = from_prefix + from_suffix;
  }
  StoreVector(At<T>(m.out, token, head, d), Narrow<T>(out));
  if (d == 0 && m.out_lse.data) {
    m.out_lse.data[token * m.out_lse.token_stride + head * m.out_lse.head_stride] =
        none ? -INFINITY : logf(sum) + largest;
  }
}

bool Aligned(const AttentionOutput& x, int vector) {
  return x.token_stride % vector == 0 && x.head_stride % vector == 0 && IsAligned(x.data, 16);
}

}  // namespace

void MergeAttentionStates(const MergeStates& m) {
  DispatchFloat(m.op, m.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kVector = kVectorOf<T>;
    const bool vectors = m.head_size % kVector == 0 && Aligned(m.out, kVector) &&
                         Aligned(m.prefix, kVector) && Aligned(m.suffix, kVector);
    const int64_t items = m.tokens * m.heads * (m.head_size / (vectors ? kVector : 1));
    Launch({m.op, CeilDiv(items, kThreads), 1, 1, kThreads}, m.stream,
           vectors ? MergeKernel<T, kVector> : MergeKernel<T, 1>, m);
  });
}

}  // namespace vllm::device
