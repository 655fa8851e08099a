// Transposition of 4-byte units, for one Highway target at a time.

#if defined(VLLM_CPU_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_TRANSPOSE_INL_H_
#undef VLLM_CPU_TRANSPOSE_INL_H_
#else
#define VLLM_CPU_TRANSPOSE_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// to[column * to_stride + row] = the unit at (row, column), four by four.
// `from.Four(row, column)` loads units column..column+3 of a row, `from.One(row, column)` a single
// one.
template <class From, class U>
HWY_INLINE void Transpose(const From& from, int64_t rows, int64_t columns, U* HWY_RESTRICT to,
                          int64_t to_stride) {
  const hn::FixedTag<U, 4> d4;
  const hn::Repartition<uint64_t, decltype(d4)> d64;
  constexpr int64_t kBlock = 128;  // columns that stay in the first-level cache from row to row
  const int64_t whole = rows >= 4 ? columns / 4 * 4 : 0;
  for (int64_t begin = 0; begin < whole; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, whole);
    for (int64_t next = 0; next < rows; next += 4) {
      const int64_t r = std::min(next, rows - 4);  // the last four may overlap those before them
      for (int64_t c = begin; c < end; c += 4) {
        const auto v0 = from.Four(r, c), v1 = from.Four(r + 1, c);
        const auto v2 = from.Four(r + 2, c), v3 = from.Four(r + 3, c);
        const auto lo01 = hn::BitCast(d64, hn::InterleaveLower(d4, v0, v1));
        const auto hi01 = hn::BitCast(d64, hn::InterleaveUpper(d4, v0, v1));
        const auto lo23 = hn::BitCast(d64, hn::InterleaveLower(d4, v2, v3));
        const auto hi23 = hn::BitCast(d64, hn::InterleaveUpper(d4, v2, v3));
        U* p = to + c * to_stride + r;
        hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d64, lo01, lo23)), d4, p);
        hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d64, lo01, lo23)), d4, p + to_stride);
        hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d64, hi01, hi23)), d4, p + 2 * to_stride);
        hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d64, hi01, hi23)), d4, p + 3 * to_stride);
      }
    }
  }
  for (int64_t c = whole; c < columns; ++c) {
    for (int64_t r = 0; r < rows; ++r) to[c * to_stride + r] = from.One(r, c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
