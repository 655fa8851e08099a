// Stable counting sort of choices by expert: a block an expert counts all choices and then places
// its own, in order, so that the result never depends on timing and no workspace is needed.
#include "device/dispatch.h"
#include "device/reduce.h"
#include "moe/routing.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 256;

struct OrderScratch {
  int counts[kMaxExperts];
  int waves[kMaxWaves];
  int begin;  // of this block's expert, in the padded order
  int total;
};

// Counts choices by expert and sums them up, each rounded up to a multiple of `block_size`.
VLLM_DEVICE void CountExperts(const int32_t* ids, int64_t choices, int experts, int block_size,
                              OrderScratch& s) {
  for (int e = threadIdx.x; e < experts; e += blockDim.x) s.counts[e] = 0;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < choices; i += blockDim.x) {
    const int expert = ids[i];
    if (expert >= 0 && expert < experts) atomicAdd(&s.counts[expert], 1);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int sum = 0;
    for (int e = 0; e < experts; ++e) {
      if (e == static_cast<int>(blockIdx.x)) s.begin = sum;
      sum += (s.counts[e] + block_size - 1) / block_size * block_size;
    }
    s.total = sum;
  }
  __syncthreads();
}

// place(number, choice) for the choices of `expert`, numbered in order.
template <typename Place>
VLLM_DEVICE void ForChoicesOf(int expert, const int32_t* ids, int64_t choices, OrderScratch& s,
                              Place&& place) {
  int found = 0;
  for (int64_t first = 0; first < choices; first += blockDim.x) {
    const int64_t i = first + threadIdx.x;
    const bool mine = i < choices && ids[i] == expert;
    const uint64_t mask = Ballot(mine);
    if (LaneId() == 0) s.waves[WaveId()] = __popcll(mask);
    __syncthreads();
    int before = found;
    for (int w = 0; w < NumWaves(); ++w) {
      if (w < WaveId()) before += s.waves[w];
      found += s.waves[w];
    }
    __syncthreads();
    if (mine) place(before + __popcll(mask & ((uint64_t{1} << LaneId()) - 1)), i);
  }
}

__global__ void AlignKernel(AlignBlocks a) {
  __shared__ OrderScratch s;
  const int expert = blockIdx.x, padding = static_cast<int>(a.choices);
  CountExperts(a.expert_ids, a.choices, a.experts, a.block_size, s);
  const int count = s.counts[expert], begin = s.begin;
  const int end = begin + (count + a.block_size - 1) / a.block_size * a.block_size;
  ForChoicesOf(expert, a.expert_ids, a.choices, s, [&](int number, int64_t choice) {
    if (begin + number < a.capacity) a.sorted[begin + number] = static_cast<int32_t>(choice);
  });
  for (int64_t i = begin + count + static_cast<int>(threadIdx.x); i < end && i < a.capacity;
       i += blockDim.x) {
    a.sorted[i] = padding;
  }
  for (int64_t b = begin / a.block_size + static_cast<int>(threadIdx.x);
       b < end / a.block_size && b < a.block_capacity; b += blockDim.x) {
    a.block_experts[b] = expert;
  }
  if (expert != a.experts - 1) return;
  if (threadIdx.x == 0) *a.total = s.total;
  for (int64_t i = s.total + static_cast<int>(threadIdx.x); i < a.capacity; i += blockDim.x) {
    a.sorted[i] = padding;
  }
  for (int64_t b = s.total / a.block_size + static_cast<int>(threadIdx.x); b < a.block_capacity;
       b += blockDim.x) {
    a.block_experts[b] = -1;
  }
}

__global__ void RowsKernel(Permute a) {
  __shared__ OrderScratch s;
  const int expert = blockIdx.x;
  CountExperts(a.expert_ids, a.choices, a.experts, 1, s);
  ForChoicesOf(expert, a.expert_ids, a.choices, s,
               [&](int number, int64_t choice) { a.row_of[choice] = s.begin + number; });
  if (threadIdx.x == 0) {
    a.first_row[expert] = s.begin;
    if (expert == a.experts - 1) a.first_row[a.experts] = s.total;
  }
  if (expert != 0) return;
  for (int64_t i = threadIdx.x; i < a.choices; i += blockDim.x) {
    if (a.expert_ids[i] < 0 || a.expert_ids[i] >= a.experts) a.row_of[i] = -1;
  }
}

// Grid: choices. Copies are of bytes, whatever the type.
template <typename Word>
__global__ void CopyKernel(Permute a, int64_t words) {
  const int64_t choice = blockIdx.x;
  const int row = a.row_of[choice];
  if (row < 0) return;
  const Word* from = static_cast<const Word*>(a.input) + choice / a.top_k * words;
  Word* to = static_cast<Word*>(a.output) + row * words;
  for (int64_t i = threadIdx.x; i < words; i += blockDim.x) to[i] = from[i];
}

// Grid: tokens, chunks.
template <typename T, int kVector>
__global__ void CombineKernel(Combine a) {
  const int64_t token = blockIdx.x;
  const int64_t d = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kVector;
  if (d >= a.hidden) return;
  Vector<float, kVector> sum{};
  for (int k = 0; k < a.top_k; ++k) {
    const int64_t choice = token * a.top_k + k;
    const int64_t row = a.row_of ? a.row_of[choice] : choice;
    if (row < 0) continue;
    const float weight = a.weights ? a.weights[choice] : 1.0f;
    const auto x = Widen(LoadVector<kVector>(static_cast<const T*>(a.rows) + row * a.hidden + d));
    VLLM_UNROLL()
    for (int j = 0; j < kVector; ++j) sum.lanes[j] += weight * x.lanes[j];
  }
  StoreVector(static_cast<T*>(a.out) + token * a.hidden + d, Narrow<T>(sum));
}

}  // namespace

void AlignToBlocks(const AlignBlocks& a) {
  Launch({a.op, a.experts, 1, 1, kThreads}, a.stream, AlignKernel, a);
}

void PermuteRows(const Permute& a) {
  Launch({a.op, a.experts, 1, 1, kThreads}, a.stream, RowsKernel, a);
  const int64_t bytes = a.hidden * (a.type == Type::kFloat32 ? 4 : 2);
  const bool wide = bytes % 16 == 0 && IsAligned(a.input, 16) && IsAligned(a.output, 16);
  const int64_t words = bytes / (wide ? 16 : 2);
  Launch({a.op, a.choices, 1, 1, ThreadsFor(words, kThreads)}, a.stream,
         wide ? CopyKernel<uint4> : CopyKernel<uint16_t>, a, words);
}

void CombineRows(const Combine& a) {
  DispatchFloat(a.op, a.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kVector = kVectorOf<T>;
    const bool vectors = a.hidden % kVector == 0 && IsAligned(a.rows, 16) && IsAligned(a.out, 16);
    const int64_t items = a.hidden / (vectors ? kVector : 1);
    Launch({a.op, a.tokens, CeilDiv(items, kThreads), 1, kThreads}, a.stream,
           vectors ? CombineKernel<T, kVector> : CombineKernel<T, 1>, a);
  });
}

}  // namespace vllm::device
