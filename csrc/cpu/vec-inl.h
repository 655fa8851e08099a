// Loads and stores that convert to and from f32, for one Highway target at a time.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"

#if defined(VLLM_CPU_VEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_VEC_INL_H_
#undef VLLM_CPU_VEC_INL_H_
#else
#define VLLM_CPU_VEC_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using VF32 = hn::Vec<F32>;

template <typename T>
HWY_INLINE VF32 LoadF32(F32 d, const T* HWY_RESTRICT from) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return hn::LoadU(d, from);
  } else {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<T, F32>(), from));
  }
}

// The first n lanes; the others are zero.
template <typename T>
HWY_INLINE VF32 LoadF32N(F32 d, const T* HWY_RESTRICT from, size_t n) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return hn::LoadN(d, from, n);
  } else {
    return hn::PromoteTo(d, hn::LoadN(hn::Rebind<T, F32>(), from, n));
  }
}

// Rounds to nearest even.
template <typename T>
HWY_INLINE void StoreF32(VF32 v, F32 d, T* HWY_RESTRICT to) {
  if constexpr (sizeof(T) == sizeof(float)) {
    hn::StoreU(v, d, to);
  } else {
    const hn::Rebind<T, F32> dt;
    hn::StoreU(hn::DemoteTo(dt, v), dt, to);
  }
}

template <typename T>
HWY_INLINE void StoreF32N(VF32 v, F32 d, T* HWY_RESTRICT to, size_t n) {
  if constexpr (sizeof(T) == sizeof(float)) {
    hn::StoreN(v, d, to, n);
  } else {
    const hn::Rebind<T, F32> dt;
    hn::StoreN(hn::DemoteTo(dt, v), dt, to, n);
  }
}

// Lanes(d) pairs of neighbours: first and second of each.
template <typename T>
HWY_INLINE void LoadPairsF32(F32 d, const T* HWY_RESTRICT from, VF32& first, VF32& second) {
  if constexpr (sizeof(T) == sizeof(float)) {
    hn::LoadInterleaved2(d, from, first, second);
  } else {
    const hn::Rebind<uint16_t, F32> du;
    const hn::Rebind<T, F32> dt;
    hn::Vec<decltype(du)> a, b;
    hn::LoadInterleaved2(du, reinterpret_cast<const uint16_t*>(from), a, b);
    first = hn::PromoteTo(d, hn::BitCast(dt, a));
    second = hn::PromoteTo(d, hn::BitCast(dt, b));
  }
}

template <typename T>
HWY_INLINE void StorePairsF32(VF32 first, VF32 second, F32 d, T* HWY_RESTRICT to) {
  if constexpr (sizeof(T) == sizeof(float)) {
    hn::StoreInterleaved2(first, second, d, to);
  } else {
    const hn::Rebind<uint16_t, F32> du;
    const hn::Rebind<T, F32> dt;
    hn::StoreInterleaved2(hn::BitCast(du, hn::DemoteTo(dt, first)),
                          hn::BitCast(du, hn::DemoteTo(dt, second)), du,
                          reinterpret_cast<uint16_t*>(to));
  }
}

// v as it reads after being stored as T.
template <typename T>
HWY_INLINE VF32 RoundTo(F32 d, VF32 v) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return v;
  } else {
    return hn::PromoteTo(d, hn::DemoteTo(hn::Rebind<T, F32>(), v));
  }
}

// The largest magnitude in x [size]. Magnitudes are ordered as their bits are, with infinities and
// NaNs behind all others.
template <typename T>
HWY_INLINE float LargestMagnitude(const T* HWY_RESTRICT x, int64_t size) {
  using Bits = hwy::SignedFromSize<sizeof(T)>;
  const hn::ScalableTag<Bits> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Bits* bits = reinterpret_cast<const Bits*>(x);
  const auto magnitude = hn::Set(d, hwy::LimitsMax<Bits>());
  auto largest = hn::Zero(d), other = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    largest = hn::Max(largest, hn::And(hn::LoadU(d, bits + i), magnitude));
    other = hn::Max(other, hn::And(hn::LoadU(d, bits + i + lanes), magnitude));
  }
  for (; i < size; i += lanes) {
    const size_t n = static_cast<size_t>(std::min(lanes, size - i));
    largest = hn::Max(largest, hn::And(hn::LoadN(d, bits + i, n), magnitude));
  }
  const Bits found = hn::ReduceMax(d, hn::Max(largest, other));
  return hwy::ConvertScalarTo<float>(hwy::BitCastScalar<T>(found));
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#endif  // VLLM_CPU_VEC_INL_H_

// Runs the statement with T as the element type that `dtype` names.
#ifndef VLLM_FOR_DTYPE
#define VLLM_FOR_DTYPE(dtype, T, ...) \
  switch (dtype) {                    \
    case ::vllm::DType::kFloat32: {   \
      using T = float;                \
      __VA_ARGS__;                    \
      break;                          \
    }                                 \
    case ::vllm::DType::kBFloat16: {  \
      using T = hwy::bfloat16_t;      \
      __VA_ARGS__;                    \
      break;                          \
    }                                 \
    case ::vllm::DType::kFloat16: {   \
      using T = hwy::float16_t;       \
      __VA_ARGS__;                    \
      break;                          \
    }                                 \
  }
#endif
