// Codes of an 8-bit KV cache from and to vectors of f32, for one Highway target at a time.

#if defined(VLLM_CPU_KV_CODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_KV_CODE_INL_H_
#undef VLLM_CPU_KV_CODE_INL_H_
#else
#define VLLM_CPU_KV_CODE_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "cpu/fp8-inl.h"
#include "cpu/kv_code.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// -127 .. 127 in two's complement.
struct Int8Code {
  static HWY_INLINE VI32 Encode(F32 d, VF32 x) {
    return hn::NearestInt(hn::Clamp(x, hn::Set(d, -127.0f), hn::Set(d, 127.0f)));
  }
  template <class D8>
  static HWY_INLINE hn::Vec<D8> Magnitude(D8 d, hn::Vec<D8> codes) {
    return hn::BitCast(d, hn::Abs(hn::BitCast(hn::RebindToSigned<D8>(), codes)));
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> Decode(D d, VCodes<D> codes) {
    const hn::RebindToSigned<D> di;
    return hn::ConvertTo(d, hn::PromoteTo(di, hn::BitCast(hn::Rebind<int8_t, D>(), codes)));
  }
};

// `call` with an object of the code's type.
template <class Call>
HWY_INLINE void WithCode(KvCode code, const Call& call) {
  switch (code) {
    case KvCode::kInt8:
      return call(Int8Code());
    case KvCode::kE4m3:
      return call(E4m3());
    case KvCode::kE5m2:
      return call(E5m2());
    case KvCode::kNone:
      return;
  }
}

template <typename T>
void EncodeCodes(KvCode code, const T* HWY_RESTRICT x, int64_t size, float scale,
                 uint8_t* HWY_RESTRICT codes) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const hn::Rebind<uint8_t, F32> du8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF32 divisor = hn::Set(d, scale > 0.0f ? scale : INFINITY);
  WithCode(code, [&](auto coding) {
    for (int64_t i = 0; i < size; i += lanes) {
      const size_t n = static_cast<size_t>(std::min(lanes, size - i));
      const VI32 value = coding.Encode(d, hn::Div(LoadF32N(d, x + i, n), divisor));
      const auto byte = hn::And(value, hn::Set(di, 0xFF));
      hn::StoreN(hn::DemoteTo(du8, byte), du8, codes + i, n);
    }
  });
}

// A value that T holds without rounding.
template <typename T>
HWY_INLINE void StoreExact(VF32 v, F32 d, T* HWY_RESTRICT to) {
  if constexpr (std::is_same_v<T, hwy::bfloat16_t>) {
    const hn::Rebind<uint16_t, F32> du16;
    const auto upper = hn::ShiftRight<16>(hn::BitCast(hn::RebindToUnsigned<F32>(), v));
    hn::StoreU(hn::TruncateTo(du16, upper), du16, reinterpret_cast<uint16_t*>(to));
  } else {
    StoreF32(v, d, to);
  }
}

// Rows of codes in memory.
struct CodeRows {
  const uint8_t* codes;
  int64_t stride;
};

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL
// Codes to bf16 by lookups among 128 bytes, 64 at once: a code's magnitude chooses both bytes of
// the result's, its sign is the result's.
template <class Coding>
class CodeLookup {
  using D8 = hn::FixedTag<uint8_t, 64>;
  using V8 = hn::Vec<D8>;

 public:
  static constexpr int64_t kCodes = 64;

  HWY_INLINE CodeLookup() {
    static const Table table;
    for (int half = 0; half < 2; ++half) {
      low_[half] = hn::Load(D8(), table.low + half * kCodes);
      high_[half] = hn::Load(D8(), table.high + half * kCodes);
    }
  }

  HWY_INLINE void Decode(const uint8_t* HWY_RESTRICT codes,
                         hwy::bfloat16_t* HWY_RESTRICT to) const {
    const D8 d;
    const hn::Repartition<uint64_t, D8> d64;
    // Bytes are interleaved within 16 of them: what belongs together is brought there first.
    HWY_ALIGN static constexpr uint64_t kOrder[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    const auto eights = hn::LoadU(d64, reinterpret_cast<const uint64_t*>(codes));
    const V8 code = hn::BitCast(d, hn::TableLookupLanes(eights, hn::SetTableIndices(d64, kOrder)));
    const auto index = hn::IndicesFromVec(d, Coding::Magnitude(d, code));
    const V8 low = hn::TwoTablesLookupLanes(d, low_[0], low_[1], index);
    const V8 magnitude = hn::TwoTablesLookupLanes(d, high_[0], high_[1], index);
    const V8 high = hn::OrAnd(magnitude, code, hn::Set(d, uint8_t{0x80}));
    uint8_t* bytes = reinterpret_cast<uint8_t*>(to);
    hn::StoreU(hn::InterleaveLower(d, low, high), d, bytes);
    hn::StoreU(hn::InterleaveUpper(d, low, high), d, bytes + kCodes);
  }

 private:
  struct Table {
    Table() {
      const hn::CappedTag<float, 1> d;
      for (int i = 0; i < 2 * kCodes; ++i) {
        const auto code = hn::Set(hn::Rebind<uint8_t, decltype(d)>(), static_cast<uint8_t>(i));
        const auto bits = hn::BitCast(hn::RebindToUnsigned<decltype(d)>(), Coding::Decode(d, code));
        low[i] = static_cast<uint8_t>(hn::GetLane(bits) >> 16);
        high[i] = static_cast<uint8_t>(hn::GetLane(bits) >> 24);
      }
    }
    HWY_ALIGN uint8_t low[2 * kCodes];
    HWY_ALIGN uint8_t high[2 * kCodes];
  };

  V8 low_[2], high_[2];
};
#else
// Without such lookups.
template <class Coding>
struct CodeLookup {
  static constexpr int64_t kCodes = 0;
  HWY_INLINE void Decode(const uint8_t*, hwy::bfloat16_t*) const {}
};
#endif

// `rows` rows of `size` (a multiple of 16) codes as values without their scale, which every T holds
// exactly. Fetches as many codes from `ahead` on.
template <typename T>
void DecodeCodes(KvCode code, CodeRows from, int64_t rows, int64_t size, T* HWY_RESTRICT to,
                 int64_t to_stride, const uint8_t* ahead) {
  const F32 d;
  const hn::Rebind<uint8_t, F32> du8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int64_t kLine = 64;
  WithCode(code, [&](auto coding) {
    const CodeLookup<decltype(coding)> lookup;
    for (int64_t row = 0; row < rows; ++row, to += to_stride) {
      const uint8_t* codes = from.codes + row * from.stride;
      for (int64_t i = 0; i < size; i += kLine) {
        __builtin_prefetch(ahead + row * from.stride + i, 0, 2);
        if constexpr (std::is_same_v<T, hwy::bfloat16_t> && lookup.kCodes == kLine) {
          if (i + kLine <= size) {
            lookup.Decode(codes + i, to + i);
            continue;
          }
        }
        for (int64_t j = i; j < std::min(size, i + kLine); j += lanes) {
          StoreExact(coding.Decode(d, hn::LoadU(du8, codes + j)), d, to + j);
        }
      }
    }
  });
}

// `rows` rows of `size` (a multiple of 8) pairs of codes; the halves become rows of their own.
inline void DecodePairs(KvCode code, CodeRows from, int64_t rows, int64_t size,
                        float* HWY_RESTRICT to, int64_t to_stride) {
  const hn::CappedTag<float, 8> d;
  const hn::Rebind<uint8_t, decltype(d)> du8;
  WithCode(code, [&](auto coding) {
    for (int64_t row = 0; row < rows; ++row, to += 2 * to_stride) {
      for (int64_t i = 0; i < size; i += static_cast<int64_t>(hn::Lanes(d))) {
        VCodes<decltype(d)> first, second;
        hn::LoadInterleaved2(du8, from.codes + row * from.stride + 2 * i, first, second);
        hn::StoreU(coding.Decode(d, first), d, to + i);
        hn::StoreU(coding.Decode(d, second), d, to + to_stride + i);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
