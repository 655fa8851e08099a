#include "cpu/quantize_weight.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/quantize_weight.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

template <typename T>
void QuantizeRow(const T* HWY_RESTRICT weight, int64_t k, uint8_t* HWY_RESTRICT codes,
                 float& scale) {
  const F32 d;
  const hn::Rebind<uint8_t, F32> du8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF32 largest = hn::Zero(d);
  for (int64_t i = 0; i < k; i += lanes) {
    const size_t n = static_cast<size_t>(std::min(lanes, k - i));
    largest = hn::Max(largest, hn::Abs(LoadF32N(d, weight + i, n)));
  }
  const float bound = hn::ReduceMax(d, largest);
  scale = bound / 127.0f;
  const VF32 inverse = hn::Set(d, bound > 0.0f ? 127.0f / bound : 0.0f);
  for (int64_t i = 0; i < k; i += lanes) {
    const size_t n = static_cast<size_t>(std::min(lanes, k - i));
    const auto code = hn::NearestInt(hn::Mul(LoadF32N(d, weight + i, n), inverse));
    const auto shifted = hn::Add(code, hn::Set(hn::RebindToSigned<F32>(), 128));
    hn::StoreN(hn::DemoteTo(du8, shifted), du8, codes + i, n);
  }
}

// Codes from -8 to 7 of `inverse` times a group, and how well they fit: their squares' sum and
// their products' with the group.
struct Fit {
  float squares, products;
};

HWY_INLINE Fit Round(const float* HWY_RESTRICT group, float inverse, float* HWY_RESTRICT codes) {
  const F32 d;
  VF32 squares = hn::Zero(d), products = hn::Zero(d);
  for (int64_t i = 0; i < kInt4Group; i += static_cast<int64_t>(hn::Lanes(d))) {
    const VF32 v = hn::Load(d, group + i);
    const VF32 rounded = hn::Round(hn::Mul(v, hn::Set(d, inverse)));
    const VF32 code = hn::Min(hn::Max(rounded, hn::Set(d, -8.0f)), hn::Set(d, 7.0f));
    hn::Store(code, d, codes + i);
    squares = hn::MulAdd(code, code, squares);
    products = hn::MulAdd(code, v, products);
  }
  return {hn::ReduceSum(d, squares), hn::ReduceSum(d, products)};
}

// The squared error of the best scale for given codes is the group's own less products^2 /
// squares.
float QuantizeGroup(const float* HWY_RESTRICT group, float* HWY_RESTRICT best_codes) {
  // How far the largest value is from code -8, in quarters of a step.
  constexpr int kNearest = -4, kFarthest = 4;
  float largest = 0.0f;
  for (int64_t i = 0; i < kInt4Group; ++i) {
    if (std::abs(group[i]) > std::abs(largest)) largest = group[i];
  }
  std::fill_n(best_codes, kInt4Group, 0.0f);
  if (largest == 0.0f) return 0.0f;
  float best = -1.0f, scale = 0.0f;
  HWY_ALIGN float codes[kInt4Group];
  for (int quarter = kNearest; quarter <= kFarthest; ++quarter) {
    const Fit fit = Round(group, (-8.0f + 0.25f * static_cast<float>(quarter)) / largest, codes);
    const float gain = fit.products * fit.products / fit.squares;
    if (gain > best) {
      best = gain;
      scale = fit.products / fit.squares;
      std::copy_n(codes, kInt4Group, best_codes);
    }
  }
  return scale;
}

template <typename T>
void QuantizeRowGroups(const T* HWY_RESTRICT weight, int64_t k, uint8_t* HWY_RESTRICT codes,
                       float* HWY_RESTRICT scales) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float group[kInt4Group], best[kInt4Group];
  for (int64_t begin = 0; begin < k; begin += kInt4Group) {
    const int64_t size = std::min(kInt4Group, k - begin);
    for (int64_t i = 0; i < kInt4Group; i += lanes) {
      const size_t n = static_cast<size_t>(std::clamp<int64_t>(size - i, 0, lanes));
      hn::Store(LoadF32N(d, weight + begin + i, n), d, group + i);
    }
    *scales++ = QuantizeGroup(group, best);
    for (int64_t i = 0; i < size; ++i) codes[begin + i] = static_cast<uint8_t>(best[i] + 8.0f);
  }
}

void QuantizeWeightRowsRange(const QuantizeWeightArgs& args, int64_t begin, int64_t end) {
  VLLM_FOR_DTYPE(args.dtype, T, {
    for (int64_t row = begin; row < end; ++row) {
      QuantizeRow(static_cast<const T*>(args.weight) + row * args.row_stride, args.k,
                  args.codes + row * args.k, args.scales[row]);
    }
  });
}

void QuantizeWeightGroupsRange(const QuantizeWeightArgs& args, int64_t begin, int64_t end) {
  const int64_t groups = (args.k + kInt4Group - 1) / kInt4Group;
  VLLM_FOR_DTYPE(args.dtype, T, {
    for (int64_t row = begin; row < end; ++row) {
      QuantizeRowGroups(static_cast<const T*>(args.weight) + row * args.row_stride, args.k,
                        args.codes + row * args.k, args.scales + row * groups);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(QuantizeWeightRowsRange);
HWY_EXPORT(QuantizeWeightGroupsRange);

void QuantizeWeightRows(const QuantizeWeightArgs& args) {
  const auto run = VLLM_DISPATCH(QuantizeWeightRowsRange);
  ParallelFor(args.n, args.k, [=](int64_t begin, int64_t end) { run(args, begin, end); });
}

void QuantizeWeightGroups(const QuantizeWeightArgs& args) {
  const auto run = VLLM_DISPATCH(QuantizeWeightGroupsRange);
  ParallelFor(args.n, 8 * args.k, [=](int64_t begin, int64_t end) { run(args, begin, end); });
}

}  // namespace vllm
#endif  // HWY_ONCE
