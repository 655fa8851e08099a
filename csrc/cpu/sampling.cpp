#include "cpu/sampling.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/sampling.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/math-inl.h"
#include "cpu/top_p-inl.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// Rows are scanned in chunks: of each its maximum is kept for top-k, its weight for the final draw.
constexpr size_t kChunk = 256;

// A thread's working memory; kMaxLanes more than asked for, as compressing stores write whole
// vectors.
struct SampleScratch {
  static constexpr size_t kMaxLanes = HWY_MAX_BYTES / sizeof(float);
  std::vector<float> maxima;  // of each chunk of logits
  std::vector<float>
      values;  // logits, then weights, of the tokens that top-k leaves; or weights of all
  std::vector<int32_t> ids;  // of the tokens that top-k leaves
  std::vector<float> work;   // for selections
  std::vector<double> sums;  // weight of each chunk

  template <typename T>
  static T* Get(std::vector<T>& buffer, size_t size) {
    if (buffer.size() < size + kMaxLanes) buffer.resize(size + kMaxLanes);
    return buffer.data();
  }
};

HWY_INLINE float ChunkMax(const float* HWY_RESTRICT x, size_t n) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  VF32 a = hn::Set(d, -std::numeric_limits<float>::infinity()), b = a, c = a, e = a;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a = hn::Max(a, hn::LoadU(d, x + i));
    b = hn::Max(b, hn::LoadU(d, x + i + lanes));
    c = hn::Max(c, hn::LoadU(d, x + i + 2 * lanes));
    e = hn::Max(e, hn::LoadU(d, x + i + 3 * lanes));
  }
  float rest = -std::numeric_limits<float>::infinity();
  for (; i < n; ++i) rest = HWY_MAX(rest, x[i]);
  return HWY_MAX(rest, hn::ReduceMax(d, hn::Max(hn::Max(a, b), hn::Max(c, e))));
}

// Fills `maxima` and returns the place of the first largest one.
HWY_INLINE size_t ChunkMaxima(const float* HWY_RESTRICT x, size_t n, float* HWY_RESTRICT maxima) {
  size_t best = 0;
  for (size_t c = 0; c * kChunk < n; ++c) {
    maxima[c] = ChunkMax(x + c * kChunk, HWY_MIN(kChunk, n - c * kChunk));
    if (maxima[c] > maxima[best]) best = c;
  }
  return best;
}

HWY_INLINE int64_t FirstEqual(const float* x, size_t begin, size_t end, float value) {
  for (size_t i = begin; i < end; ++i) {
    if (x[i] == value) return static_cast<int64_t>(i);
  }
  return static_cast<int64_t>(begin);
}

// Collects the tokens whose logit is at least the k-th largest; returns how many.
size_t SelectTopK(const float* HWY_RESTRICT x, size_t n, size_t k, SampleScratch& scratch) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const size_t lanes = hn::Lanes(d);
  const size_t chunks = hwy::DivCeil(n, kChunk);
  // k chunk maxima reach the k-th largest one of them, so the k-th largest logit does too.
  float floor = -std::numeric_limits<float>::infinity();
  float* work = SampleScratch::Get(scratch.work, n);
  if (k <= chunks) {
    std::copy_n(scratch.maxima.data(), chunks, work);
    std::nth_element(work, work + (k - 1), work + chunks, std::greater<float>());
    floor = work[k - 1];
  }
  float* values = SampleScratch::Get(scratch.values, n);
  int32_t* ids = SampleScratch::Get(scratch.ids, n);
  const VF32 vfloor = hn::Set(d, floor);
  size_t count = 0;
  for (size_t c = 0; c < chunks; ++c) {
    if (scratch.maxima[c] < floor) continue;
    const size_t end = HWY_MIN(n, (c + 1) * kChunk);
    for (size_t i = c * kChunk; i < end; i += lanes) {
      const size_t m = HWY_MIN(lanes, end - i);
      const VF32 v = hn::LoadN(d, x + i, m);
      const auto keep = hn::And(hn::Ge(v, vfloor), hn::FirstN(d, m));
      if (hn::AllFalse(d, keep)) continue;
      hn::CompressStore(hn::Iota(di, static_cast<int32_t>(i)), hn::RebindMask(di, keep), di,
                        ids + count);
      count += hn::CompressStore(v, keep, d, values + count);
    }
  }
  if (count <= k) return count;
  std::copy_n(values, count, work);
  std::nth_element(work, work + (k - 1), work + count, std::greater<float>());
  const float kth = work[k - 1];
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i) {
    if (values[i] < kth) continue;
    values[kept] = values[i];
    ids[kept++] = ids[i];
  }
  return kept;
}

// weights = e^((x - highest) / temperature), 0 where that is below `min_p`; fills the chunks' sums,
// returns their sum.
double Weigh(const float* x, size_t n, float highest, float inverse_temperature, float min_p,
             float* weights, double* HWY_RESTRICT sums) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  const VF32 top = hn::Set(d, highest), scale = hn::Set(d, inverse_temperature),
             lowest = hn::Set(d, min_p);
  double total = 0.0;
  for (size_t begin = 0; begin < n; begin += kChunk) {
    const size_t end = HWY_MIN(n, begin + kChunk);
    VF32 sum = hn::Zero(d);
    for (size_t i = begin; i < end; i += lanes) {
      const size_t m = HWY_MIN(lanes, end - i);
      const VF32 e = Exp(d, hn::Mul(hn::Sub(hn::LoadN(d, x + i, m), top), scale));
      const VF32 w = hn::IfThenElseZero(hn::And(hn::Ge(e, lowest), hn::FirstN(d, m)), e);
      hn::StoreN(w, d, weights + i, m);
      sum = hn::Add(sum, w);
    }
    sums[begin / kChunk] = static_cast<double>(hn::ReduceSum(d, sum));
    total += sums[begin / kChunk];
  }
  return total;
}

// The chunks' sums of the weights that reach `threshold`, and their sum.
double SumAbove(const float* HWY_RESTRICT weights, size_t n, float threshold,
                double* HWY_RESTRICT sums) {
  double total = 0.0;
  for (size_t begin = 0; begin < n; begin += kChunk) {
    sums[begin / kChunk] = MassFrom(weights + begin, HWY_MIN(kChunk, n - begin), threshold);
    total += sums[begin / kChunk];
  }
  return total;
}

// Place of the first weight at which the running sum of those that reach `threshold` exceeds
// `target`.
size_t Draw(const float* weights, size_t n, float threshold, const double* sums, double target) {
  const auto counts = [&](size_t i)
                          HWY_ATTR { return weights[i] > 0.0f && weights[i] >= threshold; };
  double sum = 0.0;
  size_t chunk = 0;
  const size_t last = (n - 1) / kChunk;
  while (chunk < last && sum + sums[chunk] <= target) sum += sums[chunk++];
  for (size_t i = chunk * kChunk; i < HWY_MIN(n, (chunk + 1) * kChunk); ++i) {
    if (!counts(i)) continue;
    sum += static_cast<double>(weights[i]);
    if (sum > target) return i;
  }
  // Rounding: the sums, added in another order, came out a little larger. The last token that
  // counts is the one.
  size_t i = HWY_MIN(n, (chunk + 1) * kChunk);
  while (i > 1 && !counts(i - 1)) --i;
  return i - 1;
}

int64_t SampleRow(const SampleArgs& args, int64_t row, SampleScratch& scratch) {
  const float* x = args.logits + row * args.row_stride;
  size_t n = static_cast<size_t>(args.vocab);
  float* maxima = SampleScratch::Get(scratch.maxima, hwy::DivCeil(n, kChunk));
  const size_t best = ChunkMaxima(x, n, maxima);
  const float highest = maxima[best];
  const float inverse_temperature = 1.0f / args.temperature[row];
  const int64_t greedy = FirstEqual(x, best * kChunk, HWY_MIN(n, (best + 1) * kChunk), highest);
  if (!(args.temperature[row] > 0.0f) || !std::isfinite(inverse_temperature) ||
      !std::isfinite(highest)) {
    return greedy;
  }
  const int64_t k = args.top_k[row];
  const bool selected = k > 0 && k < args.vocab;
  if (selected) n = SelectTopK(x, n, static_cast<size_t>(k), scratch);
  float* weights = SampleScratch::Get(scratch.values, n);
  double* sums = SampleScratch::Get(scratch.sums, hwy::DivCeil(n, kChunk));
  double total = Weigh(selected ? weights : x, n, highest, inverse_temperature, args.min_p[row],
                       weights, sums);
  float threshold = 0.0f;
  if (args.top_p[row] < 1.0f) {
    const double target = std::max(0.0, static_cast<double>(args.top_p[row])) * total;
    threshold = TopPThreshold(weights, n, target, total, SampleScratch::Get(scratch.work, n));
    total = SumAbove(weights, n, threshold, sums);
  }
  if (!(total > 0.0)) return greedy;
  const size_t drawn =
      Draw(weights, n, threshold, sums, static_cast<double>(args.uniform[row]) * total);
  return selected ? scratch.ids[drawn] : static_cast<int64_t>(drawn);
}

void SampleRows(const SampleArgs& args, int64_t begin, int64_t end) {
  static thread_local SampleScratch scratch;
  for (int64_t row = begin; row < end; ++row) args.tokens[row] = SampleRow(args, row, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(SampleRows);

void SampleTokens(const SampleArgs& args) {
  const auto rows = VLLM_DISPATCH(SampleRows);
  ParallelFor(args.rows, args.vocab, [&](int64_t begin, int64_t end) { rows(args, begin, end); });
}

}  // namespace vllm
#endif  // HWY_ONCE
