#include "device/rotary.h"

#include "device/dispatch.h"
#include "device/reduce.h"

namespace vllm::device {
namespace {

VLLM_DEVICE int64_t Position(const Rotary& r, int64_t token) {
  return r.positions[token / r.tokens * r.positions_outer_stride +
                     token % r.tokens * r.positions_stride];
}

template <typename T>
VLLM_DEVICE T* Head(const Rotary& r, const Heads& x, int64_t token, int head) {
  return static_cast<T*>(x.data) + token / r.tokens * x.outer_stride +
         token % r.tokens * x.token_stride + head * x.head_stride;
}

// Pairs [pair, pair + kVector) of one head.
template <typename T, typename Table, bool kNeox, int kVector>
VLLM_DEVICE void RotatePairs(T* head, const Table* cosines, int half, int pair, bool inverse) {
  const auto cos = Widen(LoadVector<kVector>(cosines + pair));
  auto sin = Widen(LoadVector<kVector>(cosines + half + pair));
  VLLM_UNROLL()
  for (int j = 0; j < kVector; ++j) sin.lanes[j] = inverse ? -sin.lanes[j] : sin.lanes[j];
  if constexpr (kNeox) {
    const auto a = Widen(LoadVector<kVector>(head + pair));
    const auto b = Widen(LoadVector<kVector>(head + half + pair));
    Vector<float, kVector> x, y;
    VLLM_UNROLL()
    for (int j = 0; j < kVector; ++j) {
      x.lanes[j] = a.lanes[j] * cos.lanes[j] - b.lanes[j] * sin.lanes[j];
      y.lanes[j] = b.lanes[j] * cos.lanes[j] + a.lanes[j] * sin.lanes[j];
    }
    StoreVector(head + pair, Narrow<T>(x));
    StoreVector(head + half + pair, Narrow<T>(y));
  } else {
    // Single pairs may start anywhere: their elements move one by one.
    constexpr int kAtOnce = kVector == 1 ? 1 : 2 * kVector;
    Vector<float, 2 * kVector> xy;
    VLLM_UNROLL()
    for (int i = 0; i < 2 * kVector; i += kAtOnce) {
      const auto in = Widen(LoadVector<kAtOnce>(head + 2 * pair + i));
      VLLM_UNROLL()
      for (int j = 0; j < kAtOnce; ++j) xy.lanes[i + j] = in.lanes[j];
    }
    VLLM_UNROLL()
    for (int j = 0; j < kVector; ++j) {
      const float a = xy.lanes[2 * j], b = xy.lanes[2 * j + 1];
      xy.lanes[2 * j] = a * cos.lanes[j] - b * sin.lanes[j];
      xy.lanes[2 * j + 1] = b * cos.lanes[j] + a * sin.lanes[j];
    }
    const auto out = Narrow<T>(xy);
    VLLM_UNROLL()
    for (int i = 0; i < 2 * kVector; i += kAtOnce) {
      Vector<T, kAtOnce> part;
      VLLM_UNROLL()
      for (int j = 0; j < kAtOnce; ++j) part.lanes[j] = out.lanes[i + j];
      StoreVector(head + 2 * pair + i, part);
    }
  }
}

// A block a token: its threads share the pairs of all query and key heads.
template <typename T, typename Table, bool kNeox, int kVector>
__global__ void RotaryKernel(Rotary r) {
  const int64_t token = blockIdx.x, position = Position(r, token);
  if (position < 0 || position >= r.table_rows) return;
  const Table* cosines = static_cast<const Table*>(r.table) + position * r.table_stride;
  const int half = r.rotary_size / 2, vectors = half / kVector;
  const int items = (r.query.heads + r.key.heads) * vectors;
  for (int i = threadIdx.x; i < items; i += blockDim.x) {
    const int head = i / vectors, pair = i % vectors * kVector;
    T* x = head < r.query.heads ? Head<T>(r, r.query, token, head)
                                : Head<T>(r, r.key, token, head - r.query.heads);
    RotatePairs<T, Table, kNeox, kVector>(x, cosines, half, pair, r.inverse);
  }
}

constexpr int kNormWaves = 4;  // of 64 threads: heads side by side in a block
constexpr int kNormLanes = 64;
constexpr int kNormHeadSize = 256;

// 64 threads a head, over shared memory: the normalised head is rotated from there.
template <typename T, typename Table>
__global__ void NormRotaryKernel(Rotary r) {
  __shared__ float heads[kNormWaves][kNormHeadSize];
  __shared__ float sums[kNormWaves][2];
  const int lane = static_cast<int>(threadIdx.x) % kNormLanes;
  const int slot = static_cast<int>(threadIdx.x) / kNormLanes;
  const int head = static_cast<int>(blockIdx.y) * kNormWaves + slot;
  const bool used = head < r.query.heads + r.key.heads;
  const bool is_query = head < r.query.heads;
  const int64_t token = blockIdx.x;
  T* x = nullptr;
  float sum = 0.0f;
  if (used) {
    x = is_query ? Head<T>(r, r.query, token, head)
                 : Head<T>(r, r.key, token, head - r.query.heads);
    for (int d = lane; d < r.head_size; d += kNormLanes) {
      const float value = ToFloat(x[d]);
      heads[slot][d] = value;
      sum += value * value;
    }
  }
  // A head's 64 threads are two waves of 32 or one of 64.
  sum = ReduceLanes<Sum>(sum, WaveSize());
  if (LaneId() == 0) sums[slot][lane / 32] = sum;
  if (WaveSize() == kNormLanes && lane == 0) sums[slot][1] = 0.0f;
  __syncthreads();
  if (!used) return;
  const float total = sums[slot][0] + sums[slot][1];
  const float factor = rsqrtf(total / static_cast<float>(r.head_size) + r.epsilon);
  const T* weight = static_cast<const T*>(is_query ? r.query_weight : r.key_weight);
  const int64_t position = Position(r, token);
  const bool known = position >= 0 && position < r.table_rows;
  const Table* cosines =
      static_cast<const Table*>(r.table) + (known ? position * r.table_stride : 0);
  const int half = r.rotary_size / 2;
  for (int d = lane; d < r.head_size; d += kNormLanes) {
    const float y = heads[slot][d] * factor * ToFloat(weight[d]);
    if (d >= r.rotary_size || !known) {
      x[d] = FromFloat<T>(y);
      continue;
    }
    const bool first = r.is_neox ? d < half : d % 2 == 0;
    const int other = r.is_neox ? (first ? d + half : d - half) : d ^ 1;
    const int pair = r.is_neox ? d % half : d / 2;
    const float z = heads[slot][other] * factor * ToFloat(weight[other]);
    const float cos = ToFloat(cosines[pair]), sin = ToFloat(cosines[half + pair]);
    x[d] = FromFloat<T>(first ? y * cos - z * sin : y * cos + z * sin);
  }
}

bool Aligned(const Heads& x, int vector, size_t element) {
  return x.heads == 0 || (IsAligned(x.data, vector * element < 16 ? vector * element : 16) &&
                          x.outer_stride % vector == 0 && x.token_stride % vector == 0 &&
                          x.head_stride % vector == 0);
}

// f(T, Table).
template <typename F>
void DispatchRotary(const Rotary& r, F&& f) {
  DispatchFloat(r.op, r.type, [&](auto tag) {
    if (r.table_type == Type::kFloat32) return f(tag, Tag<float>{});
    f(tag, tag);
  });
}

template <typename T, typename Table, bool kNeox>
void LaunchRotary(const Rotary& r) {
  constexpr int kVector = kNeox ? kVectorOf<T> : kVectorOf<T> / 2;
  const int half = r.rotary_size / 2;
  const bool vectors = half % kVector == 0 &&
                       Aligned(r.query, kVector * (kNeox ? 1 : 2), sizeof(T)) &&
                       Aligned(r.key, kVector * (kNeox ? 1 : 2), sizeof(T)) &&
                       IsAligned(r.table, 16) && r.table_stride % kVector == 0;
  const int64_t items = int64_t{r.query.heads + r.key.heads} * half / (vectors ? kVector : 1);
  Launch({r.op, r.outer * r.tokens, 1, 1, ThreadsFor(items, 512)}, r.stream,
         vectors ? RotaryKernel<T, Table, kNeox, kVector> : RotaryKernel<T, Table, kNeox, 1>, r);
}

}  // namespace

void RotaryEmbedding(const Rotary& r) {
  DispatchRotary(r, [&](auto tag, auto table_tag) {
    using T = typename decltype(tag)::type;
    using Table = typename decltype(table_tag)::type;
    if (r.is_neox) return LaunchRotary<T, Table, true>(r);
    LaunchRotary<T, Table, false>(r);
  });
}

void NormRotaryEmbedding(const Rotary& r) {
  DispatchRotary(r, [&](auto tag, auto table_tag) {
    using T = typename decltype(tag)::type;
    using Table = typename decltype(table_tag)::type;
    const int64_t heads = r.query.heads + r.key.heads;
    Launch({r.op, r.outer * r.tokens, CeilDiv(heads, kNormWaves), 1, kNormWaves * kNormLanes},
           r.stream, NormRotaryKernel<T, Table>, r);
  });
}

}  // namespace vllm::device
