#include "flashinfer/sampling.h"

#include "device/dispatch.h"
#include "device/radix.h"
#include "device/reduce.h"
#include "flashinfer/philox.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 1024;
// A wave for each half of what a draw narrows down to.
constexpr int kLeastThreads = 128;

// Weights as integers: the largest of a row has kMassBits or one more, so that rows of up to
// kMaxColumns do not overflow their sum. CUDA adds this type atomically.
using Mass = unsigned long long;
constexpr uint32_t kMassBits = 40;
constexpr int64_t kMaxColumns = int64_t{1} << 22;

struct Scratch {
  RadixScratchOf<int> counts;
  RadixScratchOf<Mass> masses;
  float maxima[kMaxWaves];
  Mass sums[kMaxWaves];
};

// The power of two that makes integers of kMassBits and one more bit of weights like `largest`.
// Scaling by it is exact; it ends at f32's largest, which shortens weights below 2^-87.
VLLM_DEVICE float MassUnit(float largest) {
  const uint32_t exponent = BitCast<uint32_t>(largest) >> 23;
  return BitCast<float>((254u + kMassBits - (exponent < kMassBits ? kMassBits : exponent)) << 23);
}

template <typename T>
struct Row {
  const T* values;
  int64_t columns;
  bool logits;
  float highest = 0.0f;
  float inverse_temperature = 1.0f;
  float unit = 0.0f;
  // What is kept: ordered bits of a value and of a weight from here on.
  uint32_t least_value = 0;
  uint32_t least_weight = 0;

  VLLM_DEVICE float Value(int64_t i) const {
    const float x = ToFloat(values[i]);
    return IsNan(x) ? -INFINITY : x;
  }
  VLLM_DEVICE float WeightOf(float value) const {
    if (!logits) return value > 0.0f ? value : 0.0f;
    return value == highest ? 1.0f : expf((value - highest) * inverse_temperature);
  }
  VLLM_DEVICE float Weight(int64_t i) const { return WeightOf(Value(i)); }
  VLLM_DEVICE bool Keeps(float value, float weight) const {
    return OrderedBits(value) >= least_value && OrderedBits(weight) >= least_weight;
  }
  VLLM_DEVICE Mass MassAt(int64_t i) const {
    const float value = Value(i), weight = WeightOf(value);
    return Keeps(value, weight) ? static_cast<Mass>(weight * unit) : 0;
  }
};

VLLM_DEVICE Mass SumOfBlock(Mass value, Mass* sums) {
  value = ReduceWave<Sum>(value);
  if (LaneId() == 0) sums[WaveId()] = value;
  __syncthreads();
  Mass total = 0;
  for (int w = 0; w < NumWaves(); ++w) total += sums[w];
  __syncthreads();
  return total;
}

template <typename T>
VLLM_DEVICE Mass KeptMass(const Row<T>& row, Scratch& scratch) {
  Mass sum = 0;
  VLLM_UNROLL(4)
  for (int64_t i = threadIdx.x; i < row.columns; i += blockDim.x) sum += row.MassAt(i);
  return SumOfBlock(sum, scratch.sums);
}

// The row with its thresholds found. `total` becomes the weight that is kept, 0 where there is none
// to draw from: every logit -infinity, or every weight 0, or one infinite.
template <typename T>
VLLM_DEVICE Row<T> Filtered(const Distributions& a, int64_t index, Scratch& scratch, Mass& total) {
  Row<T> row{static_cast<const T*>(a.values) + index * a.row_stride, a.columns, a.logits};
  float highest = -INFINITY;
  VLLM_UNROLL(4)
  for (int64_t i = threadIdx.x; i < row.columns; i += blockDim.x) {
    highest = fmaxf(highest, row.Value(i));
  }
  row.highest = ReduceBlock<Max>(highest, scratch.maxima);
  const float heaviest = a.logits ? 1.0f : row.highest;
  total = 0;
  if (!(heaviest > 0.0f && heaviest < INFINITY)) return row;
  const float temperature = a.temperature.Of(index);
  // An inverse that is infinite would make the largest logit's distance of 0 from itself NaN.
  row.inverse_temperature = 1.0f / fmaxf(temperature, 1.1754944e-38f);
  row.unit = MassUnit(heaviest);
  const Mass everything = a.joint ? KeptMass(row, scratch) : 0;
  const int k = a.top_k.Of(index);
  if (k > 0 && k < a.columns) {
    int ties;
    row.least_value =
        KthLargest(a.columns, k, scratch.counts, ties, [&](int64_t i) { return row.Value(i); });
  }
  const float min_p = a.min_p.Of(index), top_p = a.top_p.Of(index);
  if (min_p > 0.0f) row.least_weight = OrderedBits(heaviest * fminf(min_p, 1.0f));
  total = KeptMass(row, scratch);
  if (top_p < 1.0f) {
    const auto share = static_cast<double>(fmaxf(top_p, 0.0f));
    const double wanted = ceil(share * static_cast<double>(a.joint ? everything : total));
    Mass rest;
    const uint32_t found = LargestReaching(
        a.columns, wanted < 1.0 ? Mass{1} : static_cast<Mass>(wanted), scratch.masses, rest,
        [&](int64_t i) { return row.Weight(i); }, [&](int64_t i) { return row.MassAt(i); });
    row.least_weight = found > row.least_weight ? found : row.least_weight;
    total = KeptMass(row, scratch);
  }
  return row;
}

// The first column up to which the row has more mass than `target`, which must be below the total.
// The range is cut into a part a wave until it is one column.
template <typename T>
VLLM_DEVICE int64_t Draw(const Row<T>& row, Mass target, Scratch& scratch) {
  int64_t begin = 0, end = row.columns;
  while (end - begin > 1) {
    const int64_t part = (end - begin + NumWaves() - 1) / NumWaves();
    const int64_t first = begin + WaveId() * part;
    const int64_t last = first + part < end ? first + part : end;
    Mass sum = 0;
    for (int64_t i = first + LaneId(); i < last; i += WaveSize()) sum += row.MassAt(i);
    sum = ReduceWave<Sum>(sum);
    if (LaneId() == 0) scratch.sums[WaveId()] = sum;
    __syncthreads();
    int wave = 0;
    while (wave + 1 < NumWaves() && target >= scratch.sums[wave]) target -= scratch.sums[wave++];
    begin += wave * part;
    end = begin + part < end ? begin + part : end;
    __syncthreads();
  }
  return begin;
}

// A block a sample.
template <typename T>
__global__ void __launch_bounds__(kThreads) SampleKernel(Sampling a) {
  __shared__ Scratch scratch;
  const int64_t i = blockIdx.x;
  int64_t index = i;
  if (a.indices) {
    index = a.wide ? static_cast<const int64_t*>(a.indices)[i]
                   : static_cast<const int32_t*>(a.indices)[i];
    index = index < 0 || index >= a.from.rows ? 0 : index;
  }
  Mass total;
  const Row<T> row = Filtered<T>(a.from, index, scratch, total);
  // A sample's own seed makes it independent of its place.
  const uint64_t stream = a.seed.stride != 0 ? 0 : static_cast<uint64_t>(i);
  const uint64_t random = Philox(a.seed.Of(i), stream, a.offset.Of(i));
  const int64_t token = total > 0 ? Draw(row, __umul64hi(random, total), scratch) : 0;
  if (threadIdx.x != 0) return;
  if (a.wide) {
    static_cast<int64_t*>(a.samples)[i] = token;
  } else {
    static_cast<int32_t*>(a.samples)[i] = static_cast<int32_t>(token);
  }
  if (a.valid) a.valid[i] = total > 0;
}

// A block a row.
template <typename T>
__global__ void __launch_bounds__(kThreads) FilterKernel(Filtering a) {
  __shared__ Scratch scratch;
  const int64_t index = blockIdx.x;
  Mass total;
  const Row<T> row = Filtered<T>(a.from, index, scratch, total);
  const float factor = total > 0 ? row.unit / static_cast<float>(total) : 0.0f;
  for (int64_t i = threadIdx.x; i < row.columns; i += blockDim.x) {
    const float value = row.Value(i), weight = total > 0 ? row.WeightOf(value) : 0.0f;
    const bool kept = total > 0 && row.Keeps(value, weight);
    const int64_t at = index * row.columns + i;
    if (a.kept == Kept::kValue) {
      static_cast<T*>(a.out)[at] = kept ? row.values[i] : FromFloat<T>(-INFINITY);
    } else if (a.out_type == Type::kFloat32) {
      static_cast<float*>(a.out)[at] = kept ? weight * factor : 0.0f;
    } else {
      static_cast<T*>(a.out)[at] = FromFloat<T>(kept ? weight * factor : 0.0f);
    }
  }
}

int Threads(const Distributions& a) {
  if (a.columns > kMaxColumns) {
    throw std::runtime_error(std::string(a.op) + ": rows have " + std::to_string(a.columns) +
                             " columns, expected at most " + std::to_string(kMaxColumns));
  }
  const int threads = ThreadsFor(a.columns, kThreads);
  return threads < kLeastThreads ? kLeastThreads : threads;
}

}  // namespace

void DrawSamples(const Sampling& a) {
  DispatchFloat(a.from.op, a.from.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Launch({a.from.op, a.count, 1, 1, Threads(a.from)}, a.from.stream, SampleKernel<T>, a);
  });
}

void FilterRows(const Filtering& a) {
  DispatchFloat(a.from.op, a.from.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Launch({a.from.op, a.from.rows, 1, 1, Threads(a.from)}, a.from.stream, FilterKernel<T>, a);
  });
}

}  // namespace vllm::device
