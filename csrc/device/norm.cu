#include "device/norm.h"

#include "device/dispatch.h"

namespace vllm::device {
namespace {

// Vectors of a row that each thread keeps in registers between the passes; longer rows are read
// again, from cache.
constexpr int kHeld = 4;

template <typename T, NormQuant kQuant, int kVector>
struct NormRow {
  using Values = Vector<float, kVector>;

  const Norm& n;
  const T* input;
  T* residual;      // or nullptr
  const T* weight;  // or nullptr
  int vectors;
  Values held[kHeld];

  // The value to normalise, as the residual will hold it.
  VLLM_DEVICE Values Read(int i) const {
    const Values x = Widen(LoadVector<kVector>(input + i * kVector));
    if (!residual) return x;
    const Values r = Widen(LoadVector<kVector>(residual + i * kVector));
    Values sum;
    VLLM_UNROLL()
    for (int j = 0; j < kVector; ++j) sum.lanes[j] = x.lanes[j] + r.lanes[j];
    const auto rounded = Narrow<T>(sum);
    StoreVector(residual + i * kVector, rounded);
    return Widen(rounded);
  }
  VLLM_DEVICE Values ReadAgain(int i) const {
    return Widen(LoadVector<kVector>((residual ? residual : input) + i * kVector));
  }

  VLLM_DEVICE float SumOfSquares() {
    float sum = 0.0f;
    const auto add = [&](const Values& x) {
      VLLM_UNROLL()
      for (int j = 0; j < kVector; ++j) sum += x.lanes[j] * x.lanes[j];
    };
    VLLM_UNROLL()
    for (int h = 0; h < kHeld; ++h) {
      const int i = static_cast<int>(threadIdx.x) + h * static_cast<int>(blockDim.x);
      held[h] = i < vectors ? Read(i) : Values{};
      add(held[h]);
    }
    for (int i = threadIdx.x + kHeld * blockDim.x; i < vectors; i += blockDim.x) add(Read(i));
    return sum;
  }

  VLLM_DEVICE Values Normalised(const Values& x, int i, float factor) const {
    Values y;
    VLLM_UNROLL()
    for (int j = 0; j < kVector; ++j) y.lanes[j] = x.lanes[j] * factor;
    if constexpr (kQuant == NormQuant::kPerToken || kQuant == NormQuant::kPerGroup) {
      y = RoundVector<T>(y);
    }
    if (weight) {
      const Values w = Widen(LoadVector<kVector>(weight + i * kVector));
      VLLM_UNROLL()
      for (int j = 0; j < kVector; ++j) y.lanes[j] *= w.lanes[j];
    }
    return kQuant == NormQuant::kNone ? y : RoundVector<T>(y);
  }

  // use(i, normalised values) for the thread's vectors. Every lane of a wave makes the same number
  // of calls; `i` is -1 beyond the row's end.
  template <typename Use>
  VLLM_DEVICE void ForEach(float factor, Use&& use) const {
    VLLM_UNROLL()
    for (int h = 0; h < kHeld; ++h) {
      const int i = static_cast<int>(threadIdx.x) + h * static_cast<int>(blockDim.x);
      const bool inside = i < vectors;
      use(inside ? i : -1, inside ? Normalised(held[h], i, factor) : Values{});
    }
    for (int first = kHeld * blockDim.x; first < vectors; first += blockDim.x) {
      const int i = first + static_cast<int>(threadIdx.x);
      const bool inside = i < vectors;
      use(inside ? i : -1, inside ? Normalised(ReadAgain(i), i, factor) : Values{});
    }
  }
};

template <typename T>
VLLM_DEVICE const T* WeightRow(const Norm& n, int64_t row) {
  if (!n.weight) return nullptr;
  return static_cast<const T*>(n.weight) + row / n.weight_rows * n.hidden;
}

// A block a row.
template <typename T, typename Out, NormQuant kQuant, int kVector>
__global__ void __launch_bounds__(1024) NormKernel(Norm n) {
  __shared__ float scratch[2 * kMaxWaves];
  const int64_t row = blockIdx.x;
  NormRow<T, kQuant, kVector> values{n,
                                     n.input.Row<const T>(row),
                                     n.residual.data ? n.residual.Row<T>(row) : nullptr,
                                     WeightRow<T>(n, row),
                                     static_cast<int>(n.hidden / kVector),
                                     {}};
  const float squares = ReduceBlock<Sum>(values.SumOfSquares(), scratch);
  const float factor = rsqrtf(squares / static_cast<float>(n.hidden) + n.epsilon);
  Out* out = n.out.Row<Out>(row);
  using Values = Vector<float, kVector>;
  if constexpr (kQuant == NormQuant::kNone) {
    values.ForEach(factor, [&](int i, const Values& y) {
      if (i >= 0) StoreVector(out + i * kVector, Narrow<Out>(y));
    });
  } else if constexpr (kQuant == NormQuant::kPerGroup) {
    float* scales = n.scales.data + row * n.scales.row_stride;
    const int lanes = n.scales.group_size / kVector;
    values.ForEach(factor, [&](int i, const Values& y) {
      const float largest = ReduceLanes<Max>(LargestMagnitude(y), lanes);
      if (i < 0) return;
      const float scale = DynamicScale<Out>(largest, n.scale_upper);
      if (i % lanes == 0) scales[i / lanes * n.scales.group_stride] = scale;
      StoreVector(out + i * kVector, QuantizeVector<Out>(y, scale));
    });
  } else {
    float scale;
    if constexpr (kQuant == NormQuant::kStatic) {
      scale = *n.scale;
    } else {
      float largest = 0.0f;
      values.ForEach(factor,
                     [&](int, const Values& y) { largest = fmaxf(largest, LargestMagnitude(y)); });
      largest = ReduceBlock<Max>(largest, scratch + kMaxWaves);
      scale = DynamicScale<Out>(largest, n.scale_upper);
      if (threadIdx.x == 0) n.scales.data[row * n.scales.row_stride] = scale;
    }
    values.ForEach(factor, [&](int i, const Values& y) {
      if (i >= 0) StoreVector(out + i * kVector, QuantizeVector<Out>(y, scale));
    });
  }
}

template <typename T, typename Out, NormQuant kQuant>
void LaunchNorm(const Norm& n) {
  constexpr int kVector = kVectorOf<T>;
  const bool vectors = n.hidden % kVector == 0 && n.input.Aligned(kVector, sizeof(T)) &&
                       n.out.Aligned(kVector, sizeof(Out)) && IsAligned(n.weight, 16) &&
                       (!n.residual.data || n.residual.Aligned(kVector, sizeof(T)));
  // Two vectors a thread keep enough reads in flight.
  const int64_t items = CeilDiv(n.hidden / (vectors ? kVector : 1), 2);
  const LaunchShape shape{n.op, n.input.Count(), 1, 1, ThreadsFor(items, 1024)};
  if constexpr (kQuant == NormQuant::kPerGroup) {
    if (!vectors)
      throw std::runtime_error(std::string(n.op) + ": rows must start at multiples of 16 bytes");
    Launch(shape, n.stream, NormKernel<T, Out, kQuant, kVector>, n);
  } else {
    Launch(shape, n.stream,
           vectors ? NormKernel<T, Out, kQuant, kVector> : NormKernel<T, Out, kQuant, 1>, n);
  }
}

template <typename T, typename Out>
void LaunchQuantized(const Norm& n) {
  if (n.quant == NormQuant::kPerToken) return LaunchNorm<T, Out, NormQuant::kPerToken>(n);
  LaunchNorm<T, Out, NormQuant::kPerGroup>(n);
}

}  // namespace

void RmsNorm(const Norm& n) {
  if (n.hidden == 0) return;
  DispatchFloat(n.op, n.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (n.quant == NormQuant::kNone) return LaunchNorm<T, T, NormQuant::kNone>(n);
    if (n.quant == NormQuant::kStatic) return LaunchNorm<T, Fp8E4M3, NormQuant::kStatic>(n);
    if (n.out_type == Type::kInt8) return LaunchQuantized<T, int8_t>(n);
    LaunchQuantized<T, Fp8E4M3>(n);
  });
}

}  // namespace vllm::device
