#include "cpu/merge_states.h"

#include <cmath>
#include <limits>

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/merge_states.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

struct MergeWeights {
  float prefix;
  float suffix;
  float lse;
};

// Weights of the two parts and the log-sum-exp of both. +inf means "no keys", as -inf does: some
// kernels write it.
inline MergeWeights WeightsOf(float prefix_lse, float suffix_lse) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  if (std::isinf(prefix_lse)) prefix_lse = kNone;
  if (std::isinf(suffix_lse)) suffix_lse = kNone;
  const float highest = HWY_MAX(prefix_lse, suffix_lse);
  if (highest == kNone) return {1.0f, 0.0f, kNone};
  const float prefix = std::exp(prefix_lse - highest), suffix = std::exp(suffix_lse - highest);
  const float sum = prefix + suffix;
  return {prefix / sum, suffix / sum, std::log(sum) + highest};
}

// out = a * prefix + b * suffix. A part of weight 0 is not read: it may be uninitialized.
template <typename T>
HWY_INLINE void Blend(const T* prefix, const T* suffix, float a, float b, T* out, size_t size) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  const VF32 va = hn::Set(d, a), vb = hn::Set(d, b);
  for (size_t i = 0; i < size; i += lanes) {
    const size_t n = HWY_MIN(lanes, size - i);
    VF32 sum = hn::Zero(d);
    if (a != 0.0f) sum = hn::Mul(va, LoadF32N(d, prefix + i, n));
    if (b != 0.0f) sum = hn::MulAdd(vb, LoadF32N(d, suffix + i, n), sum);
    StoreF32N(sum, d, out + i, n);
  }
}

template <typename T>
void MergeTokensOf(const MergeArgs& args, int64_t begin, int64_t end) {
  const auto head_of = [](const AttentionOutput& output, int64_t token, int64_t head) HWY_ATTR {
    return static_cast<T*>(output.data) + token * output.token_stride + head * output.head_stride;
  };
  const auto lse_of = [](const LogSumExp& lse, int64_t token, int64_t head) HWY_ATTR {
    return lse.data + head * lse.head_stride + token * lse.token_stride;
  };
  for (int64_t token = begin; token < end; ++token) {
    for (int64_t head = 0; head < args.heads; ++head) {
      const MergeWeights w =
          WeightsOf(*lse_of(args.prefix_lse, token, head), *lse_of(args.suffix_lse, token, head));
      Blend<T>(head_of(args.prefix, token, head), head_of(args.suffix, token, head), w.prefix,
               w.suffix, head_of(args.out, token, head), static_cast<size_t>(args.head_size));
      if (args.out_lse.data != nullptr) *lse_of(args.out_lse, token, head) = w.lse;
    }
  }
}

void MergeTokens(const MergeArgs& args, int64_t begin, int64_t end) {
  VLLM_FOR_DTYPE(args.dtype, T, MergeTokensOf<T>(args, begin, end));
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(MergeTokens);

void MergeAttentionStates(const MergeArgs& args) {
  const auto tokens = VLLM_DISPATCH(MergeTokens);
  ParallelFor(args.tokens, args.heads * args.head_size,
              [&](int64_t begin, int64_t end) { tokens(args, begin, end); });
}

}  // namespace vllm
#endif  // HWY_ONCE
