#include "cpu/scaled_quant.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/scaled_quant.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/fp8-inl.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

template <typename T>
void QuantizeRow(const T* HWY_RESTRICT input, int64_t size, float scale, int32_t zero_point,
                 bool fp8, void* out) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const hn::Rebind<int8_t, F32> di8;
  const hn::Rebind<uint8_t, F32> du8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF32 divisor = hn::Set(d, scale > 0.0f ? scale : INFINITY);
  for (int64_t i = 0; i < size; i += lanes) {
    const size_t n = static_cast<size_t>(std::min(lanes, size - i));
    const VF32 x = hn::Div(LoadF32N(d, input + i, n), divisor);
    if (fp8) {
      hn::StoreN(hn::DemoteTo(du8, E4m3::Encode(d, x)), du8, static_cast<uint8_t*>(out) + i, n);
    } else {
      // Far from the ends of 32 bits, so that adding the zero point stays within.
      const VF32 bounded = hn::Clamp(x, hn::Set(d, -1e6f), hn::Set(d, 1e6f));
      const VI32 code = hn::Add(hn::NearestInt(bounded), hn::Set(di, zero_point));
      hn::StoreN(hn::DemoteTo(di8, code), di8, static_cast<int8_t*>(out) + i, n);
    }
  }
}

template <typename T>
void Extremes(const T* HWY_RESTRICT input, int64_t size, float& low, float& high) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF32 least = hn::Set(d, hwy::ConvertScalarTo<float>(input[0])), most = least;
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const VF32 x = LoadF32(d, input + i);
    least = hn::Min(least, x);
    most = hn::Max(most, x);
  }
  low = hn::ReduceMin(d, least);
  high = hn::ReduceMax(d, most);
  for (; i < size; ++i) {
    low = std::min(low, hwy::ConvertScalarTo<float>(input[i]));
    high = std::max(high, hwy::ConvertScalarTo<float>(input[i]));
  }
}

template <typename T>
float Largest(const ScaledQuantArgs& args, int64_t row) {
  float low, high;
  const T* input = static_cast<const T*>(args.input);
  Extremes(input + args.input_rows.Offset(row), args.size, low, high);
  return std::max(-low, high);
}

// Steps of a scale with a zero point from 0 to the row's largest magnitude, at most. More would be
// finer than 16-bit inputs are there, and sums of products with zero points have 32 bits.
constexpr float kMostSteps = 65536.0f;

// Sets a row's scale, and its zero point where it has one.
template <typename T>
void ChooseScale(const ScaledQuantArgs& args, int64_t row) {
  // Never 0, so that rows of zeros quantise to zeros.
  const float smallest = args.fp8 ? 1.0f / (E4m3::kMax * 512.0f) : 1.1920929e-7f;
  if (args.zero_points == nullptr) {
    float largest = Largest<T>(args, row);
    if (args.upper != nullptr) largest = std::min(largest, *args.upper);
    args.scales[row] = std::max(largest / (args.fp8 ? E4m3::kMax : 127.0f), smallest);
    return;
  }
  float low, high;
  const T* input = static_cast<const T*>(args.input);
  Extremes(input + args.input_rows.Offset(row), args.size, low, high);
  const float scale =
      std::max({(high - low) / 255.0f, std::max(-low, high) / kMostSteps, smallest});
  args.scales[row] = scale;
  args.zero_points[row] = static_cast<int32_t>(std::nearbyint(-128.0f - low / scale));
}

void QuantizeRows(const ScaledQuantArgs& args, bool by_row, bool dynamic, int64_t begin,
                  int64_t end) {
  VLLM_FOR_DTYPE(args.dtype, T, {
    for (int64_t row = begin; row < end; ++row) {
      if (dynamic) ChooseScale<T>(args, row);
      const int64_t at = by_row ? row : 0;
      QuantizeRow(static_cast<const T*>(args.input) + args.input_rows.Offset(row), args.size,
                  args.scales[at], args.zero_points ? args.zero_points[at] : 0, args.fp8,
                  static_cast<int8_t*>(args.out) + args.out_rows.Offset(row));
    }
  });
}

float LargestOfAll(const ScaledQuantArgs& args) {
  float largest = 0.0f;
  VLLM_FOR_DTYPE(args.dtype, T, {
    for (int64_t row = 0; row < args.input_rows.Count(); ++row) {
      largest = std::max(largest, Largest<T>(args, row));
    }
  });
  return largest;
}

int32_t Dot(const int8_t* HWY_RESTRICT a, const int8_t* HWY_RESTRICT b, int64_t k) {
  const hn::ScalableTag<int32_t> di;
  const hn::Repartition<int8_t, decltype(di)> di8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(di8));
  auto sum = hn::Zero(di);
  int64_t i = 0;
  for (; i + lanes <= k; i += lanes) {
    sum = hn::SumOfMulQuadAccumulate(di, hn::LoadU(di8, a + i), hn::LoadU(di8, b + i), sum);
  }
  if (i < k) {
    const size_t n = static_cast<size_t>(k - i);
    sum = hn::SumOfMulQuadAccumulate(di, hn::LoadN(di8, a + i, n), hn::LoadN(di8, b + i, n), sum);
  }
  return hn::ReduceSum(di, sum);
}

template <typename T>
void MatmulColumn(const ScaledMatmulArgs& args, int64_t j) {
  const int8_t* b = args.b + j * args.b_stride;
  const float b_scale = args.b_scales[j * args.b_scale_step];
  const float bias =
      args.bias ? hwy::ConvertScalarTo<float>(static_cast<const T*>(args.bias)[j]) : 0;
  for (int64_t i = 0; i < args.m; ++i) {
    int32_t sum = Dot(args.a + i * args.a_stride, b, args.k);
    if (args.adjust) sum -= args.adjust[j] * (args.zero_points ? args.zero_points[i] : 1);
    const float scale = args.a_scales[i * args.a_scale_step] * b_scale;
    static_cast<T*>(args.out)[i * args.out_stride + j] =
        hwy::ConvertScalarTo<T>(scale * static_cast<float>(sum) + bias);
  }
}

void MatmulColumns(const ScaledMatmulArgs& args, int64_t begin, int64_t end) {
  VLLM_FOR_DTYPE(args.dtype, T, {
    for (int64_t j = begin; j < end; ++j) MatmulColumn<T>(args, j);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(QuantizeRows);
HWY_EXPORT(LargestOfAll);
HWY_EXPORT(MatmulColumns);

namespace {

void Run(const ScaledQuantArgs& args, bool by_row, bool dynamic) {
  if (args.size == 0) return;
  const auto run = VLLM_DISPATCH(QuantizeRows);
  ParallelFor(args.input_rows.Count(), args.size,
              [=, &args](int64_t begin, int64_t end) { run(args, by_row, dynamic, begin, end); });
}

}  // namespace

void QuantizeStatic(const ScaledQuantArgs& args) { Run(args, false, false); }

void QuantizePerTensor(const ScaledQuantArgs& args) {
  *args.scales = args.size ? VLLM_DISPATCH(LargestOfAll)(args) / 448.0f : 0.0f;
  Run(args, false, false);
}

void QuantizePerRow(const ScaledQuantArgs& args) { Run(args, true, true); }

void ScaledMatmul(const ScaledMatmulArgs& args) {
  const auto run = VLLM_DISPATCH(MatmulColumns);
  ParallelFor(args.n, args.m * args.k / 8,
              [=, &args](int64_t begin, int64_t end) { run(args, begin, end); });
}

}  // namespace vllm
#endif  // HWY_ONCE
