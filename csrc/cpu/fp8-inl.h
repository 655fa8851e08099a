// Conversions between f32 and fp8 (Micikevicius et al., "FP8 Formats for Deep Learning", 2022), for
// one Highway target at a time.

#if defined(VLLM_CPU_FP8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_FP8_INL_H_
#undef VLLM_CPU_FP8_INL_H_
#else
#define VLLM_CPU_FP8_INL_H_
#endif

#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

using VI32 = hn::Vec<hn::RebindToSigned<F32>>;
template <class D>
using VCodes = hn::Vec<hn::Rebind<uint8_t, D>>;

// A format with `kMantissa` bits of mantissa; values beyond kLargest are stored as that.
template <int kMantissa, int kBias, int kLargest>
struct Fp8Format {
  static constexpr float kMax = static_cast<float>(kLargest);

  // Rounds to nearest even.
  static HWY_INLINE VI32 Encode(F32 d, VF32 x) {
    constexpr int kShift = 23 - kMantissa;
    const hn::RebindToUnsigned<F32> du;
    const hn::RebindToSigned<F32> di;
    const auto nan = hn::IsNaN(x);
    const VF32 magnitude = hn::Min(hn::Abs(x), hn::Set(d, kMax));
    const auto bits = hn::BitCast(du, magnitude);
    const auto odd = hn::And(hn::ShiftRight<kShift>(bits), hn::Set(du, 1u));
    const auto half = hn::Set(du, (1u << (kShift - 1)) - 1);
    const auto rounded = hn::ShiftRight<kShift>(hn::Add(hn::Add(bits, odd), half));
    const VI32 normal = hn::Sub(hn::BitCast(di, rounded), hn::Set(di, (127 - kBias) << kMantissa));
    // Below the smallest normal number codes count steps.
    const VF32 least = hn::Set(d, 1.0f / static_cast<float>(1 << (kBias - 1)));
    const VF32 steps = hn::Set(d, static_cast<float>(1 << (kBias - 1 + kMantissa)));
    const VI32 small = hn::NearestInt(hn::Mul(magnitude, steps));
    const auto is_small = hn::RebindMask(di, hn::Lt(magnitude, least));
    const VI32 code = hn::IfThenElse(hn::RebindMask(di, nan), hn::Set(di, 0x7F),
                                     hn::IfThenElse(is_small, small, normal));
    const auto sign = hn::ShiftLeft<7>(hn::ShiftRight<31>(hn::BitCast(du, x)));
    return hn::Or(code, hn::BitCast(di, sign));
  }

  // Codes without their sign.
  template <class D8>
  static HWY_INLINE hn::Vec<D8> Magnitude(D8 d, hn::Vec<D8> codes) {
    return hn::And(codes, hn::Set(d, uint8_t{0x7F}));
  }

  // By way of f16, whose exponents hold those of both formats. NaN of e4m3 becomes 480.
  template <class D>
  static HWY_INLINE hn::Vec<D> Decode(D d, VCodes<D> codes) {
    const hn::Rebind<uint16_t, D> du16;
    const hn::Rebind<hwy::float16_t, D> df16;
    const auto code = hn::PromoteTo(du16, codes);
    if constexpr (kMantissa == 2) {
      return hn::PromoteTo(d, hn::BitCast(df16, hn::ShiftLeft<8>(code)));
    } else {
      const auto sign = hn::ShiftLeft<8>(hn::And(code, hn::Set(du16, uint16_t{0x80})));
      const auto rest = hn::ShiftLeft<10 - kMantissa>(hn::And(code, hn::Set(du16, uint16_t{0x7F})));
      const auto value = hn::PromoteTo(d, hn::BitCast(df16, hn::Or(sign, rest)));
      return hn::Mul(value, hn::Set(d, static_cast<float>(1 << (15 - kBias))));
    }
  }
};

using E4m3 = Fp8Format<3, 7, 448>;
using E5m2 = Fp8Format<2, 15, 57344>;

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
