#include "device/quant.h"

#include "device/dispatch.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 256;
constexpr int kReadsAThread = 8;  // vectors, where a block's maximum costs one atomic
// Steps of a scale with a zero point from 0 to the row's largest magnitude, at most. More would be
// finer than 16-bit inputs are there, and sums of products with zero points have 32 bits.
constexpr float kMostSteps = 65536.0f;

template <typename Q, int kVector>
VLLM_DEVICE void StoreQuantized(Q* out, const Vector<float, kVector>& x, float scale,
                                int32_t zero_point) {
  Vector<Q, kVector> q;
  VLLM_UNROLL()
  for (int j = 0; j < kVector; ++j) {
    const float scaled = scale > 0.0f ? x.lanes[j] / scale : 0.0f;
    if constexpr (std::is_same_v<Q, int8_t>) {
      // Rounded before the zero point is added: its fraction is none.
      q.lanes[j] = FromFloat<Q>(rintf(scaled) + static_cast<float>(zero_point));
    } else {
      q.lanes[j] = FromFloat<Q>(scaled);
    }
  }
  StoreVector(out, q);
}

// Grid: rows, chunks.
template <typename T, typename Q, int kVector>
__global__ void StaticKernel(Quantize x) {
  const int64_t d = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kVector;
  if (d >= x.size) return;
  const auto values = Widen(LoadVector<kVector>(x.input.Row<const T>(blockIdx.x) + d));
  StoreQuantized(x.out.Row<Q>(blockIdx.x) + d, values, *x.scale,
                 x.zero_points ? *x.zero_points : 0);
}

__global__ void ClearKernel(float* scale) { *scale = 0.0f; }

// Raises *scale to the chunk's largest magnitude / 448. Floats that are not negative order as their
// bits do.
template <typename T, int kVector>
__global__ void LargestKernel(Quantize x) {
  __shared__ float scratch[kMaxWaves];
  const T* row = x.input.Row<const T>(blockIdx.x);
  float largest = 0.0f;
  VLLM_UNROLL()
  for (int i = 0; i < kReadsAThread; ++i) {
    const int64_t vector = (int64_t{blockIdx.y} * kReadsAThread + i) * kThreads + threadIdx.x;
    if (vector * kVector < x.size) {
      largest =
          fmaxf(largest, LargestMagnitude(Widen(LoadVector<kVector>(row + vector * kVector))));
    }
  }
  largest = ReduceBlock<Max>(largest, scratch);
  if (threadIdx.x == 0) {
    atomicMax(reinterpret_cast<int*>(x.scale), BitCast<int>(largest / Converter<Fp8E4M3>::kMax));
  }
}

// A block a row, read twice: the second time from cache.
template <typename T, typename Q, int kVector>
__global__ void RowKernel(Quantize x) {
  __shared__ float scratch[2 * kMaxWaves];
  const int64_t row = blockIdx.x;
  const T* input = x.input.Row<const T>(row);
  float high = Max::kNeutral, minus_low = Max::kNeutral;
  for (int64_t d = int64_t{threadIdx.x} * kVector; d < x.size; d += int64_t{blockDim.x} * kVector) {
    const auto values = Widen(LoadVector<kVector>(input + d));
    VLLM_UNROLL()
    for (int j = 0; j < kVector; ++j) {
      high = fmaxf(high, values.lanes[j]);
      minus_low = fmaxf(minus_low, -values.lanes[j]);
    }
  }
  high = ReduceBlock<Max>(high, scratch);
  minus_low = ReduceBlock<Max>(minus_low, scratch + kMaxWaves);
  float scale = DynamicScale<Q>(fmaxf(high, minus_low), x.scale_upper);
  int32_t zero_point = 0;
  if (x.zero_points) {
    const float least = fmaxf(fmaxf(high, minus_low) / kMostSteps, 1.1920929e-7f);
    scale = fmaxf((high + minus_low) / 255.0f, least);
    zero_point = static_cast<int32_t>(rintf(minus_low / scale)) - 128;
  }
  if (threadIdx.x == 0) {
    x.scales.data[row * x.scales.row_stride] = scale;
    if (x.zero_points) x.zero_points[row] = zero_point;
  }
  Q* out = x.out.Row<Q>(row);
  for (int64_t d = int64_t{threadIdx.x} * kVector; d < x.size; d += int64_t{blockDim.x} * kVector) {
    StoreQuantized(out + d, Widen(LoadVector<kVector>(input + d)), scale, zero_point);
  }
}

// group_size / kVector neighbouring lanes share a scale. Grid: rows, chunks.
template <typename T, typename Q, int kVector>
__global__ void GroupKernel(GroupQuantize g) {
  const Quantize& x = g.base;
  const int64_t row = blockIdx.x;
  const int64_t d = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kVector;
  const bool used = d < x.size;
  Vector<float, kVector> values{};
  if (used) values = Widen(LoadVector<kVector>(x.input.Row<const T>(row) + d));
  const float largest = ReduceLanes<Max>(LargestMagnitude(values), x.scales.group_size / kVector);
  float scale = fmaxf(largest, g.epsilon) / g.limit;
  if (g.powers_of_two) {
    // The exponent, and one more where a mantissa is left over.
    const uint32_t bits = BitCast<uint32_t>(scale);
    scale = BitCast<float>((bits + 0x7fffffu) & 0xff800000u);
  }
  if (!used) return;
  if (d % x.scales.group_size == 0) {
    x.scales.data[row * x.scales.row_stride + d / x.scales.group_size * x.scales.group_stride] =
        scale;
  }
  VLLM_UNROLL()
  for (int j = 0; j < kVector; ++j) {
    values.lanes[j] = fminf(fmaxf(values.lanes[j] / scale, -g.limit), g.limit);
  }
  StoreVector(x.out.Row<Q>(row) + d, Narrow<Q>(values));
}

template <typename T, typename Q>
bool Vectors(const Quantize& x) {
  constexpr int kVector = kVectorOf<T>;
  return x.size % kVector == 0 && x.input.Aligned(kVector, sizeof(T)) &&
         x.out.Aligned(kVector, sizeof(Q));
}

LaunchShape Chunks(const Quantize& x, int64_t items, int64_t items_a_block = kThreads) {
  return {x.op, x.input.Count(), CeilDiv(items, items_a_block), 1, kThreads};
}

// f(T, Q).
template <typename F>
void DispatchQuant(const Quantize& x, F&& f) {
  DispatchFloat(x.op, x.type, [&](auto tag) {
    if (x.out_type == Type::kInt8) return f(tag, Tag<int8_t>{});
    f(tag, Tag<Fp8E4M3>{});
  });
}

}  // namespace

void QuantizeStatic(const Quantize& x) {
  DispatchQuant(x, [&](auto tag, auto q_tag) {
    using T = typename decltype(tag)::type;
    using Q = typename decltype(q_tag)::type;
    constexpr int kVector = kVectorOf<T>;
    const bool vectors = Vectors<T, Q>(x);
    Launch(Chunks(x, x.size / (vectors ? kVector : 1)), x.stream,
           vectors ? StaticKernel<T, Q, kVector> : StaticKernel<T, Q, 1>, x);
  });
}

void QuantizePerTensor(const Quantize& x) {
  Launch({x.op, 1, 1, 1, 64}, x.stream, ClearKernel, x.scale);
  DispatchFloat(x.op, x.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kVector = kVectorOf<T>;
    const bool vectors = Vectors<T, Fp8E4M3>(x);
    Launch(Chunks(x, x.size / (vectors ? kVector : 1), kThreads * kReadsAThread), x.stream,
           vectors ? LargestKernel<T, kVector> : LargestKernel<T, 1>, x);
  });
  QuantizeStatic(x);
}

void QuantizePerRow(const Quantize& x) {
  DispatchQuant(x, [&](auto tag, auto q_tag) {
    using T = typename decltype(tag)::type;
    using Q = typename decltype(q_tag)::type;
    constexpr int kVector = kVectorOf<T>;
    const bool vectors = Vectors<T, Q>(x);
    const int64_t items = CeilDiv(x.size / (vectors ? kVector : 1), 2);
    Launch({x.op, x.input.Count(), 1, 1, ThreadsFor(items, 1024)}, x.stream,
           vectors ? RowKernel<T, Q, kVector> : RowKernel<T, Q, 1>, x);
  });
}

void QuantizePerGroup(const GroupQuantize& g) {
  DispatchQuant(g.base, [&](auto tag, auto q_tag) {
    using T = typename decltype(tag)::type;
    using Q = typename decltype(q_tag)::type;
    constexpr int kVector = kVectorOf<T>;
    if (!Vectors<T, Q>(g.base)) {
      throw std::runtime_error(std::string(g.base.op) +
                               ": rows must start at multiples of 16 bytes");
    }
    Launch(Chunks(g.base, g.base.size / kVector), g.base.stream, GroupKernel<T, Q, kVector>, g);
  });
}

}  // namespace vllm::device
