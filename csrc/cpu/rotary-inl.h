// Rotation of one head, for one Highway target at a time.
#include "cpu/rotary.h"
#include "cpu/vec-inl.h"

#if defined(VLLM_CPU_ROTARY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_ROTARY_INL_H_
#undef VLLM_CPU_ROTARY_INL_H_
#else
#define VLLM_CPU_ROTARY_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE void ConvertToF32(const T* HWY_RESTRICT from, float* HWY_RESTRICT to, size_t size) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) hn::StoreU(LoadF32(d, from + i), d, to + i);
  if (i < size) hn::StoreN(LoadF32N(d, from + i, size - i), d, to + i, size - i);
}

// Row `position` of the table as f32; the table's own memory where it is f32 already, else
// `buffer`.
HWY_INLINE const float* TableRow(const RotaryTable& table, int64_t position, float* buffer) {
  const int64_t offset = position * table.row_stride;
  const size_t size = static_cast<size_t>(table.rotary_size);
  switch (table.dtype) {
    case DType::kFloat32:
      return static_cast<const float*>(table.data) + offset;
    case DType::kBFloat16:
      ConvertToF32(static_cast<const hwy::bfloat16_t*>(table.data) + offset, buffer, size);
      return buffer;
    case DType::kFloat16:
      ConvertToF32(static_cast<const hwy::float16_t*>(table.data) + offset, buffer, size);
      return buffer;
  }
  return nullptr;
}

// out = rotation of x by the angles of `cos_sin` = [half cosines, half sines]. out may be x.
template <typename TIn, typename TOut>
HWY_INLINE void RotateNeox(const TIn* x, TOut* out, const float* HWY_RESTRICT cos_sin,
                           size_t half) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < half; i += lanes) {
    if (HWY_LIKELY(i + lanes <= half)) {
      const VF32 a = LoadF32(d, x + i), b = LoadF32(d, x + half + i);
      const VF32 c = hn::LoadU(d, cos_sin + i), s = hn::LoadU(d, cos_sin + half + i);
      StoreF32(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, out + i);
      StoreF32(hn::MulAdd(a, s, hn::Mul(b, c)), d, out + half + i);
    } else {
      const size_t n = half - i;
      const VF32 a = LoadF32N(d, x + i, n), b = LoadF32N(d, x + half + i, n);
      const VF32 c = hn::LoadN(d, cos_sin + i, n), s = hn::LoadN(d, cos_sin + half + i, n);
      StoreF32N(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, out + i, n);
      StoreF32N(hn::MulAdd(a, s, hn::Mul(b, c)), d, out + half + i, n);
    }
  }
}

template <typename TIn, typename TOut>
HWY_INLINE void RotateInterleaved(const TIn* x, TOut* out, const float* HWY_RESTRICT cos_sin,
                                  size_t half) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < half; i += lanes) {
    const size_t n = HWY_MIN(lanes, half - i);
    VF32 a, b;
    if (HWY_LIKELY(n == lanes)) {
      LoadPairsF32(d, x + 2 * i, a, b);
    } else {
      TIn pairs[2 * HWY_MAX_BYTES / sizeof(float)] = {};
      for (size_t j = 0; j < 2 * n; ++j) pairs[j] = x[2 * i + j];
      LoadPairsF32(d, pairs, a, b);
    }
    const VF32 c = hn::LoadN(d, cos_sin + i, n), s = hn::LoadN(d, cos_sin + half + i, n);
    const VF32 ra = hn::NegMulAdd(b, s, hn::Mul(a, c)), rb = hn::MulAdd(a, s, hn::Mul(b, c));
    if (HWY_LIKELY(n == lanes)) {
      StorePairsF32(ra, rb, d, out + 2 * i);
    } else {
      TOut pairs[2 * HWY_MAX_BYTES / sizeof(float)];
      StorePairsF32(ra, rb, d, pairs);
      for (size_t j = 0; j < 2 * n; ++j) out[2 * i + j] = pairs[j];
    }
  }
}

template <typename TIn, typename TOut>
HWY_INLINE void Rotate(const TIn* x, TOut* out, const float* HWY_RESTRICT cos_sin, size_t half,
                       bool is_neox) {
  if (is_neox) {
    RotateNeox(x, out, cos_sin, half);
  } else {
    RotateInterleaved(x, out, cos_sin, half);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#endif  // VLLM_CPU_ROTARY_INL_H_
