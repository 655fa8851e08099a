// 2^x for one Highway target at a time, accurate to 1e-7 relative.

#if defined(VLLM_CPU_EXP2_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_EXP2_INL_H_
#undef VLLM_CPU_EXP2_INL_H_
#else
#define VLLM_CPU_EXP2_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

inline constexpr float kLog2E = 1.44269504088896341f;
inline constexpr float kLn2 = 0.693147180559945309f;

// 2^x for x <= 126; exactly 0 for x < -126, -inf included. 2^0 is exactly 1. No NaN in, no NaN out.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V Exp2(D df, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> di;
  const V lowest = hn::Set(df, -126.0f);
  const auto vanishes = hn::Lt(x, lowest);
  x = hn::Max(x, lowest);
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const V magic = hn::Set(df, 12582912.0f);
  const V shifted = hn::Add(x, magic);
  const V f = hn::Sub(x, hn::Sub(shifted, magic));  // in [-0.5, 0.5]
  // Taylor series of 2^f in f; the first dropped term is below 1.2e-7 * 2^f.
  V p = hn::Set(df, 1.5403530e-4f);
  p = hn::MulAdd(p, f, hn::Set(df, 1.3333558e-3f));
  p = hn::MulAdd(p, f, hn::Set(df, 9.6181291e-3f));
  p = hn::MulAdd(p, f, hn::Set(df, 5.5504109e-2f));
  p = hn::MulAdd(p, f, hn::Set(df, 2.4022651e-1f));
  p = hn::MulAdd(p, f, hn::Set(df, 6.9314718e-1f));
  p = hn::MulAdd(p, f, hn::Set(df, 1.0f));
  // The low bits of `shifted`, moved to the exponent, multiply p by the power of two.
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const V result = hn::BitCast(df, hn::Add(hn::BitCast(di, p), exponent));
  return hn::IfThenZeroElse(vanishes, result);
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
