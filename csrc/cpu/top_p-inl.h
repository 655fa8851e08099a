// The smallest weight that top-p keeps, found by selection rather than by sorting, for one Highway
// target at a time.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>

#include "cpu/vec-inl.h"

#if defined(VLLM_CPU_TOP_P_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_TOP_P_INL_H_
#undef VLLM_CPU_TOP_P_INL_H_
#else
#define VLLM_CPU_TOP_P_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

inline constexpr size_t kSummedInF32 = 4096;  // elements; sums of these are added in f64

// Sum of the weights w >= threshold.
HWY_INLINE double MassFrom(const float* HWY_RESTRICT w, size_t n, float threshold) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  const VF32 t = hn::Set(d, threshold);
  double total = 0.0;
  for (size_t begin = 0; begin < n; begin += kSummedInF32) {
    const size_t end = HWY_MIN(n, begin + kSummedInF32);
    VF32 sum = hn::Zero(d);
    size_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const VF32 v = hn::LoadU(d, w + i);
      sum = hn::Add(sum, hn::IfThenElseZero(hn::Ge(v, t), v));
    }
    if (i < end) {
      const VF32 v = hn::LoadN(d, w + i, end - i);
      sum = hn::Add(sum, hn::IfThenElseZero(hn::Ge(v, t), v));
    }
    total += static_cast<double>(hn::ReduceSum(d, sum));
  }
  return total;
}

// Copies the weights in [low, high) to `out`, which may be w; returns how many.
HWY_INLINE size_t Cut(const float* w, size_t n, float low, float high, float* out) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  const VF32 vlow = hn::Set(d, low), vhigh = hn::Set(d, high);
  size_t count = 0;
  for (size_t i = 0; i < n; i += lanes) {
    const size_t m = HWY_MIN(lanes, n - i);
    const VF32 v = hn::LoadN(d, w + i, m);
    const auto inside = hn::And(hn::And(hn::Ge(v, vlow), hn::Lt(v, vhigh)), hn::FirstN(d, m));
    if (!hn::AllFalse(d, inside)) count += hn::CompressStore(v, inside, d, out + count);
  }
  return count;
}

// The weight at which the descending running sum of w[0, n) reaches `target`; sorts w.
inline float SortedThreshold(float* w, size_t n, double target) {
  std::sort(w, w + n, std::greater<float>());
  double sum = 0.0;
  for (size_t i = 0; i < n; ++i) {
    sum += static_cast<double>(w[i]);
    if (sum >= target) return w[i];
  }
  return n == 0 ? 0.0f : w[n - 1];
}

struct Bracket {
  float low;
  float high;
};

// Two of the weights w[0, n), around the one at which a sample of them, in descending order, has
// summed up to `share` of its sum; around its median where `share` is negative.
inline Bracket GuessBracket(const float* w, size_t n, double share) {
  constexpr size_t kSample = 128, kMargin = 8;
  float sample[kSample];
  double sum = 0.0, reached = 0.0;
  for (size_t i = 0; i < kSample; ++i) {
    sample[i] = w[i * (n - 1) / (kSample - 1)];
    sum += static_cast<double>(sample[i]);
  }
  std::sort(sample, sample + kSample, std::greater<float>());
  size_t place = share < 0.0 ? kSample / 2 : 0;
  while (place + 1 < kSample && (reached += static_cast<double>(sample[place])) < share * sum)
    ++place;
  return {sample[HWY_MIN(kSample - 1, place + kMargin)],
          sample[place < kMargin ? 0 : place - kMargin]};
}

// The largest t such that the weights w >= t sum to at least `target` of their sum `mass`. Weights
// are in [0, 1]; `work` has room for n and a vector more. Each round keeps the part of the weights
// in which t lies: about an eighth where the sample guesses right, and half of them in the round
// after a wrong guess.
float TopPThreshold(const float* w, size_t n, double target, double mass, float* work) {
  constexpr size_t kSorted = 256;
  constexpr float kAboveAll = 2.0f;
  // Zeros never help to reach a target.
  size_t count = Cut(w, n, std::numeric_limits<float>::min(), kAboveAll, work);
  bool guess = true;
  while (count > kSorted) {
    Bracket bracket = GuessBracket(work, count, guess ? target / mass : -1.0);
    const bool equal = bracket.low == bracket.high;
    if (equal) bracket.high = std::nextafter(bracket.low, kAboveAll);  // holds what equals low
    const double above = MassFrom(work, count, bracket.high);
    const double from_low = above >= target ? above : MassFrom(work, count, bracket.low);
    guess = above < target && from_low >= target;
    if (above >= target) {
      mass = above;
      count = Cut(work, count, bracket.high, kAboveAll, work);
    } else if (from_low >= target) {
      if (equal) return bracket.low;
      target -= above;
      mass = from_low - above;
      count = Cut(work, count, bracket.low, bracket.high, work);
    } else {
      target -= from_low;
      mass -= from_low;
      count = Cut(work, count, 0.0f, bracket.low, work);
      if (count == 0) return bracket.low;  // the sums' rounding
    }
  }
  return SortedThreshold(work, count, target);
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#endif  // VLLM_CPU_TOP_P_INL_H_
