// Register tiles of products of 8-bit input codes and 4- or 8-bit weight codes, and the
// quantisation of the input, for one Highway target at a time.
#include "cpu/linear_store-inl.h"
#include "cpu/quantized_linear.h"

#if defined(VLLM_CPU_QUANTIZED_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_QUANTIZED_TILE_INL_H_
#undef VLLM_CPU_QUANTIZED_TILE_INL_H_
#else
#define VLLM_CPU_QUANTIZED_TILE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

using I32 = hn::RebindToSigned<F32>;
using VI32 = hn::Vec<I32>;
using U8 = hn::Repartition<uint8_t, F32>;
using VU8 = hn::Vec<U8>;

// Of a panel, what one step reads: four k (8-bit codes) or eight (4-bit).
constexpr int64_t kStepBytes = kPanel * 4;

// The quantised input of one row tile.
struct InputTile {
  const int32_t* codes;  // four 8-bit codes each, [padded k / 4][rows]
  const float* scales;   // [groups][rows]
  const int32_t* sums;   // of each group's codes, [groups][rows]
};

// One panel of the weight.
struct WeightPanel {
  const uint8_t* data;
  int64_t padded_k;
  int64_t group_size;
  // What is fetched meanwhile: from where on, and how many bytes for each kStepBytes that are read.
  const uint8_t* fetch;
  int64_t fetch_step;
};

// Codes of one step: 8-bit codes as they lie, 4-bit ones in two halves.
template <int kBits>
HWY_INLINE VU8 CodesPart(VU8 loaded, int part) {
  if constexpr (kBits == 8) return loaded;
  const hn::Repartition<uint32_t, U8> du32;
  const auto halves =
      part == 0 ? loaded : hn::BitCast(U8(), hn::ShiftRight<4>(hn::BitCast(du32, loaded)));
  return hn::And(halves, hn::Set(U8(), uint8_t{0x0F}));
}

// How products are summed: sum += four products of neighbouring codes of weight and input in each
// lane. Sums are exact, so that all ways give the same. `kLess` is taken off each weight code.
struct AnyProducts {
  static constexpr int kLess = 0;
  static HWY_INLINE void Add(VI32& sum, VU8 codes, VI32 input) {
    const hn::Repartition<int8_t, I32> di8;
    sum = hn::SumOfMulQuadAccumulate(I32(), codes, hn::BitCast(di8, input), sum);
  }
};

#if defined(VLLM_CPU_AVX512VNNI) && HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
#define VLLM_CPU_PRODUCTS "vpdpbusd %2, %1, %0"
#elif defined(VLLM_CPU_AVXVNNI) && HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
#define VLLM_CPU_PRODUCTS "%{vex%} vpdpbusd %2, %1, %0"
#endif

#ifdef VLLM_CPU_PRODUCTS
// Written out because compilers copy the sums between registers, and spill some, around the
// intrinsic, and because not every CPU of the targets AVX3 and AVX2 has it. The input is in a
// register, not broadcast from memory by the instruction, which takes Ice Lake half as long again.
struct VnniProducts {
  static constexpr int kLess = 0;
  static HWY_INLINE void Add(VI32& sum, VU8 codes, VI32 input) {
    asm(VLLM_CPU_PRODUCTS : "+v"(sum.raw) : "v"(codes.raw), "v"(input.raw));
  }
};
using BestProducts = VnniProducts;
#undef VLLM_CPU_PRODUCTS
#else
using BestProducts = AnyProducts;
#endif

// Whether the best can be used where UseVnni() says so, not everywhere.
constexpr bool kBestNeedsVnni =
    HWY_TARGET > HWY_AVX3_DL && !std::is_same_v<BestProducts, AnyProducts>;

// Whether multiplying 8-bit codes and adding pairs of the products is one instruction.
constexpr bool kHasPairProducts = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2;

// 8-bit codes without VNNI: less 128, and with their signs moved to the input, two products fit 16
// bits, so that neither has to be widened.
struct SignedProducts {
  static constexpr int kLess = 128;
  static HWY_INLINE void Add(VI32& sum, VU8 codes, VI32 input) {
    const hn::Repartition<int8_t, I32> di8;
    const hn::Repartition<int16_t, I32> di16;
    const auto weight = hn::BitCast(di8, hn::Xor(codes, hn::Set(U8(), uint8_t{128})));
    const auto magnitude = hn::BitCast(U8(), hn::Abs(weight));  // of -128 it is 128
    const auto factor = hn::IfNegativeThenNegOrUndefIfZero(weight, hn::BitCast(di8, input));
    const auto pairs = hn::SatWidenMulPairwiseAdd(di16, magnitude, factor);
    sum = hn::Add(sum, hn::WidenMulPairwiseAdd(I32(), pairs, hn::Set(di16, 1)));
  }
};

// Pairs of products of 4-bit codes stay below 2^12, so that 16 bits hold the sum of eight: without
// VNNI that halves the work and more.
struct PairProducts {
  using I16 = hn::Repartition<int16_t, F32>;
  using Sum = hn::Vec<I16>;
  static constexpr int kMost = 8;  // that a sum holds

  static HWY_INLINE Sum Zero() { return hn::Zero(I16()); }
  static HWY_INLINE void Add(Sum& sum, VU8 codes, VI32 input) {
    const hn::Repartition<int8_t, I32> di8;
    sum = hn::Add(sum, hn::SatWidenMulPairwiseAdd(I16(), codes, hn::BitCast(di8, input)));
  }
  static HWY_INLINE void AddTo(VI32& total, Sum sum) {
    total = hn::Add(total, hn::WidenMulPairwiseAdd(I32(), sum, hn::Set(I16(), 1)));
  }
};

// sum[r][v] += sum over `steps` steps of input codes * weight codes.
template <class Products, int kBits, int kRows, int kVecs, class Sum>
HWY_INLINE void SumSteps(const int32_t* HWY_RESTRICT a, const uint8_t* HWY_RESTRICT b,
                         int64_t steps, const uint8_t* fetch, int64_t fetch_step,
                         Sum (&sum)[kRows][kVecs]) {
  constexpr int kParts = 8 / kBits;
  for (int64_t step = 0; step < steps; ++step) {
    __builtin_prefetch(fetch, 0, 2);
    __builtin_prefetch(fetch + 64, 0, 2);
    fetch += fetch_step;
    VU8 loaded[kVecs];
    HWY_UNROLL(32)
    for (int v = 0; v < kVecs; ++v) loaded[v] = hn::LoadU(U8(), b + v * kLanes * 4);
    HWY_UNROLL(2)
    for (int part = 0; part < kParts; ++part) {
      VU8 codes[kVecs];
      HWY_UNROLL(32)
      for (int v = 0; v < kVecs; ++v) codes[v] = CodesPart<kBits>(loaded[v], part);
      HWY_UNROLL(32)
      for (int r = 0; r < kRows; ++r) {
        const VI32 input = hn::Set(I32(), a[r]);
        HWY_UNROLL(32)
        for (int v = 0; v < kVecs; ++v) Products::Add(sum[r][v], codes[v], input);
      }
      a += kRows;
    }
    b += kStepBytes;
  }
}

// The same by way of sums that hold few products.
template <int kBits, int kRows, int kVecs>
HWY_INLINE void SumPairs(const int32_t* HWY_RESTRICT a, const uint8_t* HWY_RESTRICT b,
                         int64_t steps, const uint8_t* fetch, int64_t fetch_step,
                         VI32 (&sum)[kRows][kVecs]) {
  constexpr int64_t kRun = PairProducts::kMost * kBits / 8;  // steps
  for (int64_t step = 0; step < steps; step += kRun) {
    PairProducts::Sum pairs[kRows][kVecs];
    HWY_UNROLL(32)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(32)
      for (int v = 0; v < kVecs; ++v) pairs[r][v] = PairProducts::Zero();
    }
    SumSteps<PairProducts, kBits, kRows, kVecs>(a + step * (8 / kBits) * kRows,
                                                b + step * kStepBytes, std::min(kRun, steps - step),
                                                fetch + step * fetch_step, fetch_step, pairs);
    HWY_UNROLL(32)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(32)
      for (int v = 0; v < kVecs; ++v) PairProducts::AddTo(sum[r][v], pairs[r][v]);
    }
  }
}

// c[r][j] += scales of row r and column j * (sum[r][j] - zero[j] * sum of r's codes).
template <int kRows, int kVecs, bool kScaled, bool kZeroed>
HWY_INLINE void AddGroup(const hwy::float16_t* HWY_RESTRICT head,
                         const float* HWY_RESTRICT input_scales,
                         const int32_t* HWY_RESTRICT input_sums, VI32 (&sum)[kRows][kVecs],
                         float* HWY_RESTRICT c) {
  const F32 df;
  HWY_UNROLL(32)
  for (int v = 0; v < kVecs; ++v) {
    VF32 scale = hn::Zero(df), zero = hn::Zero(df);
    if constexpr (kScaled) scale = LoadF32(df, head + v * kLanes);
    if constexpr (kZeroed) zero = LoadF32(df, head + (kScaled ? kPanel : 0) + v * kLanes);
    HWY_UNROLL(32)
    for (int r = 0; r < kRows; ++r) {
      VF32 product = hn::ConvertTo(df, sum[r][v]);
      if constexpr (kZeroed) {
        product = hn::NegMulAdd(zero, hn::Set(df, static_cast<float>(input_sums[r])), product);
      }
      if constexpr (kScaled) product = hn::Mul(product, scale);
      float* to = c + r * kPanel + v * kLanes;
      hn::StoreU(hn::MulAdd(product, hn::Set(df, input_scales[r]), hn::LoadU(df, to)), df, to);
    }
  }
}

// c[r][j] = sum[r][j] * scale of row r * scale of column j.
template <int kRows, int kVecs>
HWY_INLINE void StoreWhole(const float* HWY_RESTRICT column_scales,
                           const float* HWY_RESTRICT input_scales, VI32 (&sum)[kRows][kVecs],
                           float* HWY_RESTRICT c) {
  const F32 df;
  HWY_UNROLL(32)
  for (int v = 0; v < kVecs; ++v) {
    const VF32 scale = hn::LoadU(df, column_scales + v * kLanes);
    HWY_UNROLL(32)
    for (int r = 0; r < kRows; ++r) {
      const VF32 product = hn::Mul(hn::ConvertTo(df, sum[r][v]), hn::Set(df, input_scales[r]));
      hn::StoreU(hn::Mul(product, scale), df, c + r * kPanel + v * kLanes);
    }
  }
}

// c [kRows][32] = the input tile times a panel. Not inlined, so that the sums get all vector
// registers.
template <class Products, int kBits, bool kScaled, bool kZeroed, int kRows>
HWY_NOINLINE void QuantizedTile(const InputTile& input, const WeightPanel& panel,
                                float* HWY_RESTRICT c) {
  const F32 df;
  const I32 di;
  constexpr int kVecs = VecsFor(kRows);
  constexpr bool kByPairs = std::is_same_v<Products, AnyProducts> && kHasPairProducts;
  using Summed = std::conditional_t<kByPairs && kBits == 8, SignedProducts, Products>;
  constexpr int64_t kHead = (kScaled ? 64 : 0) + (kZeroed ? 64 : 0);
  constexpr int64_t kStepK = 4 * (8 / kBits);
  const float* row_scales = reinterpret_cast<const float*>(panel.data);
  const bool whole = !kScaled && !kZeroed && panel.group_size >= panel.padded_k;
  if (!whole) {
    for (int i = 0; i < kRows * kPanel; i += kLanes) hn::StoreU(hn::Zero(df), df, c + i);
  }
  for (int column = 0; column < kPanel; column += kVecs * kLanes) {
    const uint8_t *group = panel.data + kPanel * 4, *fetch = panel.fetch;
    InputTile in = input;
    for (int64_t k = 0; k < panel.padded_k; k += panel.group_size) {
      const int64_t size = std::min(panel.group_size, panel.padded_k - k);
      VI32 sum[kRows][kVecs];
      HWY_UNROLL(32)
      for (int r = 0; r < kRows; ++r) {
        // Without zeros of its own a group's zero is the middle code.
        constexpr int kZero = kZeroed ? 0 : 1 << (kBits - 1);
        const VI32 start = hn::Set(di, in.sums[r] * (Summed::kLess - kZero));
        HWY_UNROLL(32)
        for (int v = 0; v < kVecs; ++v) sum[r][v] = start;
      }
      if constexpr (kHead > 0) __builtin_prefetch(fetch, 0, 2);
      fetch += kHead * panel.fetch_step / kStepBytes;
      const uint8_t* codes = group + kHead + column * 4;
      if constexpr (kByPairs && kBits == 4) {
        SumPairs<kBits, kRows, kVecs>(in.codes, codes, size / kStepK, fetch, panel.fetch_step, sum);
      } else {
        SumSteps<Summed, kBits, kRows, kVecs>(in.codes, codes, size / kStepK, fetch,
                                              panel.fetch_step, sum);
      }
      fetch += size / kStepK * panel.fetch_step;
      if constexpr (!kScaled && !kZeroed) {
        if (whole) {
          StoreWhole<kRows, kVecs>(row_scales + column, in.scales, sum, c + column);
          break;
        }
      }
      AddGroup<kRows, kVecs, kScaled, kZeroed>(
          reinterpret_cast<const hwy::float16_t*>(group) + column, in.scales, in.sums, sum,
          c + column);
      group += kHead + size * kPanel * kBits / 8;
      in.codes += size / 4 * kRows;
      in.scales += kRows;
      in.sums += kRows;
    }
  }
  if (whole) return;
  for (int j = 0; j < kPanel; j += kLanes) {
    const VF32 scale = hn::LoadU(df, row_scales + j);
    for (int r = 0; r < kRows; ++r) {
      float* to = c + r * kPanel + j;
      hn::StoreU(hn::Mul(hn::LoadU(df, to), scale), df, to);
    }
  }
}

// Quantises x [size] to codes, rounding to nearest: x is about code * scale, codes in [-127, 127].
// A value that is not finite makes the scale NaN.
template <typename T>
HWY_INLINE void QuantizeGroup(const T* HWY_RESTRICT x, int64_t size, int8_t* HWY_RESTRICT codes,
                              float& scale, int32_t& sum) {
  const F32 df;
  const I32 di;
  const hn::Rebind<int8_t, F32> di8;
  const float bound = LargestMagnitude(x, size);
  const VF32 inverse = hn::Set(df, bound > 0.0f ? 127.0f / bound : 0.0f);
  VI32 total = hn::Zero(di);
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const VI32 code = hn::NearestInt(hn::Mul(LoadF32(df, x + i), inverse));
    total = hn::Add(total, code);
    hn::StoreU(hn::DemoteTo(di8, code), di8, codes + i);
  }
  if (i < size) {
    const size_t n = static_cast<size_t>(size - i);
    const VI32 code = hn::NearestInt(hn::Mul(LoadF32N(df, x + i, n), inverse));
    total = hn::Add(total, code);
    hn::StoreN(hn::DemoteTo(di8, code), di8, codes + i, n);
  }
  scale = std::isfinite(bound) ? bound * (1.0f / 127.0f) : std::numeric_limits<float>::quiet_NaN();
  sum = hn::ReduceSum(di, total);
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
