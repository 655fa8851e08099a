// Quantised matrices in other layouts, and dequantised.
#include "device/dispatch.h"
#include "device/wna16_codes.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 8;  // of a thread

// Grid: columns, rows.
template <typename T>
__global__ void DequantizeKernel(Dequantize a) {
  const int n = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (n >= a.weight.n) return;
  const int first = static_cast<int>(blockIdx.y) * kRows;
  for (int k = first; k < first + kRows && k < a.weight.k; ++k) {
    const int group = GroupOf(a.weight, k);
    const float code = CodeValue(a.weight.code_type, CodeAt(a.weight, k, n));
    const float value = (code - ZeroAt(a.weight, group, n)) * ScaleAt(Tag<T>{}, a.weight, group, n);
    static_cast<T*>(a.out)[int64_t{k} * a.weight.n + n] = FromFloat<T>(value);
  }
}

template <typename T>
__global__ void BiasKernel(AddBias a) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= a.m * a.n) return;
  const int place = PlaceOf(static_cast<int>(i % a.n), ColumnOrder::kMarlinChannels);
  T* out = static_cast<T*>(a.out) + i;
  *out = FromFloat<T>(ToFloat(*out) + ToFloat(static_cast<const T*>(a.bias)[place]));
}

// A thread 32 rows of a column, which are whole words at every width. Grid: columns, rows.
__global__ void RepackKernel(RepackCodes a) {
  const int n = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (n >= a.from.n) return;
  const int first = static_cast<int>(blockIdx.y) * 32, bits = BitsOf(a.from.code_type);
  uint32_t* out = a.out + int64_t{blockIdx.y} * bits * a.from.n + n;
  uint64_t gathered = 0;  // codes that no word has taken yet
  int held = 0;
  for (int i = 0; i < 32; ++i) {
    int k = a.permutation ? a.permutation[first + i] : first + i;
    k = k < 0 || k >= a.from.k ? 0 : k;
    gathered |= uint64_t{CodeAt(a.from, k, n)} << held;
    held += bits;
    if (held < 32) continue;
    *out = static_cast<uint32_t>(gathered);
    out += a.from.n;
    gathered >>= 32;
    held -= 32;
  }
}

__global__ void GatherKernel(GatherColumns a) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= a.m * a.k) return;
  const int64_t row = i / a.k;
  const int column = a.permutation[i % a.k];
  const auto* from = static_cast<const uint16_t*>(a.a) + row * a.a_stride;
  static_cast<uint16_t*>(a.out)[i] = from[column < 0 || column >= a.k ? 0 : column];
}

}  // namespace

void DequantizeMatrix(const Dequantize& a) {
  const LaunchShape shape{a.op, CeilDiv(a.weight.n, kThreads), CeilDiv(a.weight.k, kRows), 1,
                          kThreads};
  Launch(shape, a.stream,
         a.type == Type::kBFloat16 ? DequantizeKernel<BFloat16> : DequantizeKernel<Float16>, a);
}

void AddMarlinBias(const AddBias& a) {
  Launch({a.op, CeilDiv(a.m * a.n, kThreads), 1, 1, kThreads}, a.stream,
         a.type == Type::kBFloat16 ? BiasKernel<BFloat16> : BiasKernel<Float16>, a);
}

void RepackToColumns(const RepackCodes& a) {
  Launch({a.op, CeilDiv(a.from.n, kThreads), a.from.k / 32, 1, kThreads}, a.stream, RepackKernel,
         a);
}

void GatherColumnsOf(const GatherColumns& a) {
  Launch({a.op, CeilDiv(a.m * a.k, kThreads), 1, 1, kThreads}, a.stream, GatherKernel, a);
}

}  // namespace vllm::device
