#include "device/activation.h"

#include "device/dispatch.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 256;

VLLM_DEVICE float Sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
VLLM_DEVICE float Silu(float x) { return x * Sigmoid(x); }
VLLM_DEVICE float Gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }
VLLM_DEVICE float GeluTanh(float x) {
  return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
}

// One result from the first and second operand.
template <Activation kKind>
VLLM_DEVICE float Apply(float a, float b, const float (&params)[2]) {
  switch (kKind) {
    case Activation::kSiluAndMul:
      return Silu(a) * b;
    case Activation::kMulAndSilu:
      return a * Silu(b);
    case Activation::kGeluAndMul:
      return Gelu(a) * b;
    case Activation::kGeluTanhAndMul:
      return GeluTanh(a) * b;
    case Activation::kFatreluAndMul:
      return (a > params[0] ? a : 0.0f) * b;
    case Activation::kSwigluOaiAndMul: {
      const float gate = fminf(a, params[1]), up = fminf(fmaxf(b, -params[1]), params[1]);
      return (up + 1.0f) * gate * Sigmoid(params[0] * gate);
    }
    case Activation::kGeluTanh:
      return GeluTanh(a);
    case Activation::kGeluQuick:
      return a * Sigmoid(1.702f * a);
  }
  return 0.0f;
}

template <Activation kKind, int kVector>
VLLM_DEVICE Vector<float, kVector> ApplyAll(const Vector<float, kVector>& a,
                                            const Vector<float, kVector>& b,
                                            const float (&params)[2]) {
  Vector<float, kVector> out;
  VLLM_UNROLL()
  for (int j = 0; j < kVector; ++j) out.lanes[j] = Apply<kKind>(a.lanes[j], b.lanes[j], params);
  return out;
}

template <int kVector>
VLLM_DEVICE Vector<float, kVector> ApplyKind(Activation kind, const Vector<float, kVector>& a,
                                             const Vector<float, kVector>& b,
                                             const float (&params)[2]) {
  switch (kind) {
    case Activation::kSiluAndMul:
      return ApplyAll<Activation::kSiluAndMul>(a, b, params);
    case Activation::kMulAndSilu:
      return ApplyAll<Activation::kMulAndSilu>(a, b, params);
    case Activation::kGeluAndMul:
      return ApplyAll<Activation::kGeluAndMul>(a, b, params);
    case Activation::kGeluTanhAndMul:
      return ApplyAll<Activation::kGeluTanhAndMul>(a, b, params);
    case Activation::kFatreluAndMul:
      return ApplyAll<Activation::kFatreluAndMul>(a, b, params);
    case Activation::kSwigluOaiAndMul:
      return ApplyAll<Activation::kSwigluOaiAndMul>(a, b, params);
    case Activation::kGeluTanh:
      return ApplyAll<Activation::kGeluTanh>(a, b, params);
    default:
      return ApplyAll<Activation::kGeluQuick>(a, b, params);
  }
}

VLLM_DEVICE bool IsSingle(Activation kind) {
  return kind == Activation::kGeluTanh || kind == Activation::kGeluQuick;
}

// A thread a vector. Grid: rows, chunks of a row.
template <typename T, int kVector>
__global__ void ActivationKernel(Activate x) {
  const int64_t d = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kVector;
  if (d >= x.size) return;
  const T* input = x.input.Row<const T>(blockIdx.x);
  Vector<float, kVector> a, b;
  if (x.kind == Activation::kSwigluOaiAndMul) {
    Vector<float, kVector> pairs[2];
    VLLM_UNROLL()
    for (int i = 0; i < 2; ++i) {
      pairs[i] = Widen(LoadVector<kVector>(input + 2 * d + i * kVector));
    }
    VLLM_UNROLL()
    for (int j = 0; j < kVector; ++j) {
      a.lanes[j] = pairs[2 * j / kVector].lanes[2 * j % kVector];
      b.lanes[j] = pairs[(2 * j + 1) / kVector].lanes[(2 * j + 1) % kVector];
    }
  } else {
    a = Widen(LoadVector<kVector>(input + d));
    b = IsSingle(x.kind) ? a : Widen(LoadVector<kVector>(input + x.size + d));
  }
  StoreVector(x.out.Row<T>(blockIdx.x) + d, Narrow<T>(ApplyKind(x.kind, a, b, x.params)));
}

// As ActivationKernel. With scales a group, group_size / kVector neighbouring lanes share one;
// lanes beyond the row's end take part in the exchange.
template <typename T, typename Out, bool kGroups, int kVector>
__global__ void SiluQuantKernel(SiluQuant x) {
  const int64_t row = blockIdx.x;
  const int64_t d = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kVector;
  const bool used = d < x.size;
  Vector<float, kVector> y{};
  if (used) {
    const T* input = x.input.Row<const T>(row);
    const float none[2] = {0.0f, 0.0f};
    y = ApplyAll<Activation::kSiluAndMul>(Widen(LoadVector<kVector>(input + d)),
                                          Widen(LoadVector<kVector>(input + x.size + d)), none);
    if constexpr (!kGroups) y = RoundVector<T>(y);
  }
  float scale;
  if constexpr (kGroups) {
    const float largest = ReduceLanes<Max>(LargestMagnitude(y), x.scales.group_size / kVector);
    scale = DynamicScale<Out>(largest, x.scale_upper);
    if (used && d % x.scales.group_size == 0) {
      const int64_t group = d / x.scales.group_size;
      x.scales.data[row * x.scales.row_stride + group * x.scales.group_stride] = scale;
    }
  } else {
    scale = *x.scale;
  }
  if (used) StoreVector(x.out.Row<Out>(row) + d, QuantizeVector<Out>(y, scale));
}

LaunchShape Chunks(const char* op, int64_t rows, int64_t vectors) {
  return {op, rows, CeilDiv(vectors, kThreads), 1, kThreads};
}

template <typename T, typename Out>
void LaunchSiluQuant(const SiluQuant& x) {
  constexpr int kVector = kVectorOf<T>;
  const bool vectors = x.size % kVector == 0 && x.input.Aligned(kVector, sizeof(T)) &&
                       x.out.Aligned(kVector, sizeof(Out));
  const LaunchShape shape = Chunks(x.op, x.input.Count(), x.size / (vectors ? kVector : 1));
  if (!x.scales.data) {
    const auto kernel =
        vectors ? SiluQuantKernel<T, Out, false, kVector> : SiluQuantKernel<T, Out, false, 1>;
    return Launch(shape, x.stream, kernel, x);
  }
  if (!vectors)
    throw std::runtime_error(std::string(x.op) + ": rows must start at multiples of 16 bytes");
  Launch(shape, x.stream, SiluQuantKernel<T, Out, true, kVector>, x);
}

}  // namespace

void RunActivation(const Activate& x) {
  DispatchFloat(x.op, x.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kVector = kVectorOf<T>;
    const bool vectors = x.size % kVector == 0 && x.input.Aligned(kVector, sizeof(T)) &&
                         x.out.Aligned(kVector, sizeof(T));
    Launch(Chunks(x.op, x.input.Count(), x.size / (vectors ? kVector : 1)), x.stream,
           vectors ? ActivationKernel<T, kVector> : ActivationKernel<T, 1>, x);
  });
}

void RunSiluAndMulQuant(const SiluQuant& x) {
  DispatchFloat(x.op, x.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (x.out_type == Type::kInt8) return LaunchSiluQuant<T, int8_t>(x);
    LaunchSiluQuant<T, Fp8E4M3>(x);
  });
}

}  // namespace vllm::device
