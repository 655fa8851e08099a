#include "cpu/norm.h"

#include <cmath>

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/norm.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// Sum of squares of x[0, size), in four independent chains.
template <typename T>
HWY_INLINE float SumOfSquares(const T* HWY_RESTRICT x, size_t size) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  VF32 s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  size_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    const VF32 a = LoadF32(d, x + i), b = LoadF32(d, x + i + lanes);
    const VF32 e = LoadF32(d, x + i + 2 * lanes), f = LoadF32(d, x + i + 3 * lanes);
    s0 = hn::MulAdd(a, a, s0);
    s1 = hn::MulAdd(b, b, s1);
    s2 = hn::MulAdd(e, e, s2);
    s3 = hn::MulAdd(f, f, s3);
  }
  for (; i + lanes <= size; i += lanes) {
    const VF32 a = LoadF32(d, x + i);
    s0 = hn::MulAdd(a, a, s0);
  }
  if (i < size) {
    const VF32 a = LoadF32N(d, x + i, size - i);
    s1 = hn::MulAdd(a, a, s1);
  }
  return hn::ReduceSum(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

// x += y, rounded to T; returns the sum of squares of the rounded result.
template <typename T>
HWY_INLINE float AddAndSumOfSquares(T* HWY_RESTRICT x, const T* HWY_RESTRICT y, size_t size) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  VF32 s0 = hn::Zero(d), s1 = s0;
  size_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    const VF32 a = RoundTo<T>(d, hn::Add(LoadF32(d, x + i), LoadF32(d, y + i)));
    const VF32 b = RoundTo<T>(d, hn::Add(LoadF32(d, x + i + lanes), LoadF32(d, y + i + lanes)));
    StoreF32(a, d, x + i);
    StoreF32(b, d, x + i + lanes);
    s0 = hn::MulAdd(a, a, s0);
    s1 = hn::MulAdd(b, b, s1);
  }
  for (; i < size; i += lanes) {
    const size_t n = HWY_MIN(lanes, size - i);
    const VF32 a = RoundTo<T>(d, hn::Add(LoadF32N(d, x + i, n), LoadF32N(d, y + i, n)));
    StoreF32N(a, d, x + i, n);
    s0 = hn::MulAdd(a, a, s0);
  }
  return hn::ReduceSum(d, hn::Add(s0, s1));
}

// out = x * scale * weight. out may be x.
template <typename T>
HWY_INLINE void Scale(T* out, const T* x, const T* HWY_RESTRICT weight, float scale, size_t size) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  const VF32 s = hn::Set(d, scale);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    StoreF32(hn::Mul(hn::Mul(LoadF32(d, x + i), s), LoadF32(d, weight + i)), d, out + i);
  }
  if (i < size) {
    const size_t n = size - i;
    const VF32 v = hn::Mul(hn::Mul(LoadF32N(d, x + i, n), s), LoadF32N(d, weight + i, n));
    StoreF32N(v, d, out + i, n);
  }
}

template <typename T>
HWY_INLINE void ScaleAlone(T* out, const T* x, float scale, size_t size) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  const VF32 s = hn::Set(d, scale);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) StoreF32(hn::Mul(LoadF32(d, x + i), s), d, out + i);
  if (i < size) StoreF32N(hn::Mul(LoadF32N(d, x + i, size - i), s), d, out + i, size - i);
}

template <typename T>
HWY_INLINE void ScaleRow(T* out, const T* x, const NormWeight& weight, int64_t row, float scale,
                         size_t size) {
  if (weight.data == nullptr) return ScaleAlone(out, x, scale, size);
  const size_t which = static_cast<size_t>(row / weight.rows);
  Scale(out, x, static_cast<const T*>(weight.data) + which * size, scale, size);
}

inline float InverseRms(float sum_of_squares, int64_t size, float epsilon) {
  return 1.0f / std::sqrt(sum_of_squares / static_cast<float>(size) + epsilon);
}

template <typename T>
void RmsNormRowsOf(const RmsNormArgs& args, int64_t begin, int64_t end) {
  const size_t size = static_cast<size_t>(args.size);
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(args.input) + args.input_rows.Offset(row);
    T* out = static_cast<T*>(args.out) + args.out_rows.Offset(row);
    const float scale = InverseRms(SumOfSquares(x, size), args.size, args.epsilon);
    ScaleRow(out, x, args.weight, row, scale, size);
  }
}

template <typename T>
void FusedAddRmsNormRowsOf(const FusedAddRmsNormArgs& args, int64_t begin, int64_t end) {
  const size_t size = static_cast<size_t>(args.size);
  for (int64_t row = begin; row < end; ++row) {
    T* x = static_cast<T*>(args.input) + args.input_rows.Offset(row);
    T* residual = static_cast<T*>(args.residual) + args.residual_rows.Offset(row);
    const float scale = InverseRms(AddAndSumOfSquares(residual, x, size), args.size, args.epsilon);
    ScaleRow(x, residual, args.weight, row, scale, size);
  }
}

void RmsNormRows(const RmsNormArgs& args, int64_t begin, int64_t end) {
  VLLM_FOR_DTYPE(args.dtype, T, RmsNormRowsOf<T>(args, begin, end));
}

void FusedAddRmsNormRows(const FusedAddRmsNormArgs& args, int64_t begin, int64_t end) {
  VLLM_FOR_DTYPE(args.dtype, T, FusedAddRmsNormRowsOf<T>(args, begin, end));
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(RmsNormRows);
HWY_EXPORT(FusedAddRmsNormRows);

void RmsNorm(const RmsNormArgs& args) {
  const auto rows = VLLM_DISPATCH(RmsNormRows);
  ParallelFor(args.input_rows.Count(), args.size,
              [&](int64_t begin, int64_t end) { rows(args, begin, end); });
}

void FusedAddRmsNorm(const FusedAddRmsNormArgs& args) {
  const auto rows = VLLM_DISPATCH(FusedAddRmsNormRows);
  ParallelFor(args.input_rows.Count(), args.size,
              [&](int64_t begin, int64_t end) { rows(args, begin, end); });
}

}  // namespace vllm
#endif  // HWY_ONCE
