#include "device/all_reduce.h"

#include "device/dispatch.h"
#include "device/system_flag.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 512;

using Flags = uint32_t (Signal::*)[kMaxReduceBlocks][kMaxRanks];

// Waits until the same block of every rank is here; what it wrote before is visible then.
template <Flags kFlags>
VLLM_DEVICE void Meet(const AllReduce& a, uint32_t round) {
  const int peer = static_cast<int>(threadIdx.x);
  __syncthreads();
  if (peer < a.ranks) StoreFlag(&(a.signals.of[peer]->*kFlags)[blockIdx.x][a.rank], round);
  __syncthreads();  // no thread waits before all have announced
  if (peer < a.ranks) AwaitFlag(&(a.signals.of[a.rank]->*kFlags)[blockIdx.x][peer], round);
  __syncthreads();
}

template <typename T, int kVector>
VLLM_DEVICE Vector<T, kVector> SumAt(const PeerBuffers& buffers, int ranks, int64_t at) {
  Vector<float, kVector> sum{};
  for (int r = 0; r < ranks; ++r) {
    const auto x = Widen(LoadVector<kVector>(static_cast<const T*>(buffers.of[r]) + at * kVector));
    VLLM_UNROLL()
    for (int i = 0; i < kVector; ++i)
      sum.lanes[i] = r == 0 ? x.lanes[i] : sum.lanes[i] + x.lanes[i];
  }
  return Narrow<T>(sum);
}

// A thread reads of its peers' parts what the thread of the same number has written: flags of
// blocks are enough.
template <typename T>
__global__ void __launch_bounds__(kThreads, 1) SumKernel(AllReduce a) {
  constexpr int kVector = kVectorOf<T>;
  const PeerBuffers buffers = *a.buffers;
  Signal* self = a.signals.of[a.rank];
  const uint32_t round = self->round[blockIdx.x] + 1;
  const int64_t vectors = a.count / kVector, threads = int64_t{gridDim.x} * kThreads;
  const int64_t first = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  T* out = static_cast<T*>(a.out);
  Meet<&Signal::started>(a, round);
  if (!a.in_parts) {
    for (int64_t i = first; i < vectors; i += threads) {
      StoreVector(out + i * kVector, SumAt<T, kVector>(buffers, a.ranks, i));
    }
  } else {
    const int64_t part = CeilDiv(vectors, a.ranks), own = part * a.rank;
    T* parts = reinterpret_cast<T*>(self + 1);
    for (int64_t i = first; i < part && own + i < vectors; i += threads) {
      StoreVector(parts + i * kVector, SumAt<T, kVector>(buffers, a.ranks, own + i));
    }
    Meet<&Signal::written>(a, round);
    for (int64_t i = first; i < part; i += threads) {
      for (int r = 0; r < a.ranks && part * r + i < vectors; ++r) {
        const T* from = reinterpret_cast<const T*>(a.signals.of[r] + 1);
        StoreVector(out + (part * r + i) * kVector, LoadVector<kVector>(from + i * kVector));
      }
    }
  }
  // Nobody's buffer changes before all have read it.
  Meet<&Signal::finished>(a, round);
  if (threadIdx.x == 0) self->round[blockIdx.x] = round;
}

}  // namespace

void SumOverRanks(const AllReduce& a) {
  DispatchFloat(a.op, a.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (a.source) CopyAsync(a.op, a.buffer, a.source, a.count * sizeof(T), a.stream);
    const int64_t vectors = a.count / kVectorOf<T>;
    // Ranks have the same number of blocks, as they have the same shapes.
    const int64_t blocks = CeilDiv(a.in_parts ? CeilDiv(vectors, a.ranks) : vectors, kThreads);
    Launch({a.op, blocks < kMaxReduceBlocks ? blocks : kMaxReduceBlocks, 1, 1, kThreads}, a.stream,
           SumKernel<T>, a);
  });
}

}  // namespace vllm::device
