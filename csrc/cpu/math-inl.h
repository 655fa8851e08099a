// Elementary functions on f32 vectors, for one Highway target at a time.
#include "cpu/vec-inl.h"

#if defined(VLLM_CPU_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_MATH_INL_H_
#undef VLLM_CPU_MATH_INL_H_
#else
#define VLLM_CPU_MATH_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// e^x within 2 ulp; 0 below -87.3 (so that e^-inf is 0), saturating at e^88. Cody-Waite reduction
// by ln 2 and the minimax polynomial of Cephes' expf.
HWY_INLINE VF32 Exp(F32 d, VF32 x) {
  const hn::RebindToSigned<F32> di;
  const auto underflow = hn::Lt(x, hn::Set(d, -87.3f));
  const VF32 clamped = hn::Min(hn::Max(x, hn::Set(d, -87.3f)), hn::Set(d, 88.0f));
  const auto n = hn::NearestInt(hn::Mul(clamped, hn::Set(d, 1.44269504088896341f)));
  const VF32 nf = hn::ConvertTo(d, n);
  VF32 r = hn::NegMulAdd(nf, hn::Set(d, 0.693359375f), clamped);
  r = hn::NegMulAdd(nf, hn::Set(d, -2.12194440e-4f), r);
  VF32 p = hn::MulAdd(hn::Set(d, 1.9875691500e-4f), r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const auto scale = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
  return hn::IfThenZeroElse(underflow, hn::Mul(p, scale));
}

// 1 / (1 + e^-x)
HWY_INLINE VF32 Sigmoid(F32 d, VF32 x) {
  const VF32 one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, Exp(d, hn::Neg(x))));
}

// Absolute error below 3e-7.
HWY_INLINE VF32 Tanh(F32 d, VF32 x) {
  const VF32 one = hn::Set(d, 1.0f);
  return hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(Exp(d, hn::Add(x, x)), one)));
}

// Absolute error below 3e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
HWY_INLINE VF32 Erf(F32 d, VF32 x) {
  const VF32 one = hn::Set(d, 1.0f);
  const VF32 a = hn::Abs(x);
  const VF32 t = hn::Div(one, hn::MulAdd(a, hn::Set(d, 0.3275911f), one));
  VF32 p = hn::MulAdd(hn::Set(d, 1.061405429f), t, hn::Set(d, -1.453152027f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.421413741f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.284496736f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.254829592f));
  const VF32 tail = hn::Mul(hn::Mul(p, t), Exp(d, hn::Neg(hn::Mul(a, a))));
  return hn::CopySign(hn::Sub(one, tail), x);
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#endif  // VLLM_CPU_MATH_INL_H_
