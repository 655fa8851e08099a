// Register-tile matrix multiplication shared by the linear and the attention kernels.
//
// A tile is `kRows` rows of A against `kVecs` vectors of columns of B, accumulated in f32. Every
// output is one chain of multiply-adds in the order of k, so its bits depend neither on the tile
// height nor on the vector width: a row gives the same result in any batch.

// Per-target include guard (Highway compiles this file once for each instruction set).
#if defined(VLLM_CPU_GEMM_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_GEMM_TILE_INL_H_
#undef VLLM_CPU_GEMM_TILE_INL_H_
#else
#define VLLM_CPU_GEMM_TILE_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/fetch_ahead.h"
#include "hwy/highway.h"

#if HWY_TARGET & HWY_ALL_SVE
#error "a tile is an array of vectors: include core/no_sve.h first of all"
#endif

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// An operand policy says how one step of k is read from A and B. `kSub` values of A (consecutive
// k) are used in a step; B's step is one 32-bit (or, for f16, 16-bit) unit a column.

// f32 x f32.
struct F32Operands {
  using A = float;
  using B = float;
  static constexpr int kSub = 1;
  template <class D>
  static HWY_INLINE hn::Vec<D> LoadB(D df, const B* b) {
    return hn::LoadU(df, b);
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> Part(D, hn::Vec<D> b, int) {
    return b;
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> MulAdd(D df, A a, hn::Vec<D> b, hn::Vec<D> sum) {
    return hn::MulAdd(hn::Set(df, a), b, sum);
  }
};

// f32 x f16, widened as it is loaded.
struct F16Operands : F32Operands {
  using B = hwy::float16_t;
  template <class D>
  static HWY_INLINE hn::Vec<D> LoadB(D df, const B* b) {
    return hn::PromoteTo(df, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), b));
  }
};

// f32 x pairs of bf16 (k, k + 1): the halves become f32 by a shift and a mask. The pair lies in
// memory as it does in the weight, so which half comes first depends on the byte order.
struct ExpandedBf16Operands {
  using A = float;
  using B = uint32_t;
  static constexpr int kSub = 2;
  template <class D>
  static HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> LoadB(D, const B* b) {
    return hn::LoadU(hn::RebindToUnsigned<D>(), b);
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> Part(D df, hn::Vec<hn::RebindToUnsigned<D>> b, int sub) {
    const hn::RebindToUnsigned<D> du;
    const bool low = (sub == 0) == (HWY_IS_LITTLE_ENDIAN != 0);
    return hn::BitCast(df, low ? hn::ShiftLeft<16>(b) : hn::And(b, hn::Set(du, 0xFFFF0000u)));
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> MulAdd(D df, A a, hn::Vec<D> b, hn::Vec<D> sum) {
    return hn::MulAdd(hn::Set(df, a), b, sum);
  }
};

#if HWY_NATIVE_DOT_BF16
// Pairs of bf16 x pairs of bf16 by the CPU's dot product instruction.
struct DotBf16Operands {
  using A = uint32_t;
  using B = uint32_t;
  static constexpr int kSub = 1;
  template <class D>
  using VBf16 = hn::Vec<hn::Repartition<hwy::bfloat16_t, D>>;
  template <class D>
  static HWY_INLINE VBf16<D> LoadB(D, const B* b) {
    return hn::BitCast(hn::Repartition<hwy::bfloat16_t, D>(),
                       hn::LoadU(hn::RebindToUnsigned<D>(), b));
  }
  template <class D>
  static HWY_INLINE VBf16<D> Part(D, VBf16<D> b, int) {
    return b;
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> MulAdd(D df, A a, VBf16<D> b, hn::Vec<D> sum) {
    const hn::Repartition<hwy::bfloat16_t, D> dbf16;
    auto unused = hn::Zero(df);
    return hn::ReorderWidenMulAccumulate(
        df, hn::BitCast(dbf16, hn::Set(hn::RebindToUnsigned<D>(), a)), b, sum, unused);
  }
};
using Bf16Operands = DotBf16Operands;
#else
using Bf16Operands = ExpandedBf16Operands;
#endif

using One = std::integral_constant<size_t, 1>;

// What a tile fetches into the second-level cache at each step of k, for whoever needs it next.
struct NoFetch {
  HWY_INLINE void Step() {}
};

template <int kLines>
struct FetchLines {
  const char* at;

  HWY_INLINE void Step() {
    for (int line = 0; line < kLines; ++line) __builtin_prefetch(at + line * 64, 0, 2);
    at += kLines * 64;
  }
};

struct FetchSpans {
  FetchCursor* cursor;

  HWY_INLINE void Step() {
    if (const char* line = cursor->NextLine()) __builtin_prefetch(line, 0, 2);
  }
};

// c[r][j] = sum over steps of a[r * a_row + step * a_step] * b[step * b_step + j], plus, with
// `kAccumulate`, c[r][j] * column_scale[j].
//
// Strides count elements; either of A's may be an integral_constant. Each step is one of `fetch`,
// too. Not inlined, so that the sums get all vector registers.
template <class Operands, int kRows, int kVecs, bool kAccumulate = false, class Fetch = NoFetch,
          class D, class ARow, class AStep>
HWY_NOINLINE void GemmTile(D df, const typename Operands::A* HWY_RESTRICT a, ARow a_row,
                           AStep a_step, const typename Operands::B* HWY_RESTRICT b, size_t b_step,
                           size_t steps, float* HWY_RESTRICT c, size_t c_row,
                           const float* HWY_RESTRICT column_scale = nullptr, Fetch fetch = {}) {
  constexpr size_t kLanes = hn::MaxLanes(D());
  hn::Vec<D> sum[kRows][kVecs];
  HWY_UNROLL(32)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(32)
    for (int v = 0; v < kVecs; ++v) {
      if constexpr (kAccumulate) {
        sum[r][v] = hn::Mul(hn::LoadU(df, c + r * c_row + v * kLanes),
                            hn::LoadU(df, column_scale + v * kLanes));
      } else {
        sum[r][v] = hn::Zero(df);
      }
    }
  }
  for (size_t step = 0; step < steps; ++step) {
    fetch.Step();
    decltype(Operands::LoadB(df, b)) bv[kVecs];
    HWY_UNROLL(32)
    for (int v = 0; v < kVecs; ++v) bv[v] = Operands::LoadB(df, b + v * kLanes);
    HWY_UNROLL(32)
    for (int s = 0; s < Operands::kSub; ++s) {
      HWY_UNROLL(32)
      for (int r = 0; r < kRows; ++r) {
        const auto av = a[r * a_row + s * a_step];
        HWY_UNROLL(32)
        for (int v = 0; v < kVecs; ++v) {
          sum[r][v] = Operands::MulAdd(df, av, Operands::Part(df, bv[v], s), sum[r][v]);
        }
      }
    }
    a += Operands::kSub * a_step;
    b += b_step;
  }
  HWY_UNROLL(32)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(32)
    for (int v = 0; v < kVecs; ++v) hn::StoreU(sum[r][v], df, c + r * c_row + v * kLanes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
