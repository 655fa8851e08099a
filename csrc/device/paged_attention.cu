#include "device/paged_attention.h"

#include "device/dispatch.h"
#include "device/reduce.h"

namespace vllm::device {
namespace {

// Tokens whose logits are held at a time; a running maximum and sum join the tiles, so that any
// length fits in the same shared memory.
constexpr int kTile = 256;
constexpr int kValueTokens = 8;  // values of one dimension that a thread reads at once

// Shared memory of a block: floats, then the tile's block numbers.
// kHeads query heads that read the same KV head are computed together.
struct SharedLayout {
  int query, logits, acc, partial, maxima, scratch, entries, floats;

  VLLM_HOST_DEVICE SharedLayout(int heads, int head_size, int value_lanes) {
    query = 0;
    logits = query + heads * head_size;
    acc = logits + heads * kTile;
    partial = acc + heads * head_size;
    maxima = partial + heads * head_size * value_lanes;
    scratch = maxima + heads;
    entries = scratch + heads * kMaxWaves;
    floats = entries + kTile / 8;
  }
};

// Threads share a block's [head_size, block_size] values in vectors of kValueTokens. Where a block
// holds fewer vectors than half the threads, several blocks are read side by side.
struct ValuePlan {
  int vectors;  // of a block
  int lanes;    // blocks side by side

  VLLM_HOST_DEVICE ValuePlan(int head_size, int block_size, int threads) {
    vectors = head_size * (block_size / kValueTokens);
    lanes = vectors * 2 <= threads ? threads / vectors : 1;
  }
};

// Of query and out; -1 where the sequence is left alone.
VLLM_DEVICE int64_t RowOf(const PagedAttention& a, int64_t seq) {
  if (!a.query_start) return seq;
  const int32_t first = a.query_start[seq];
  return a.query_start[seq + 1] - first == 1 ? first : -1;
}

template <typename T, typename Cache, int kHeads>
struct Tile {
  // Enough reads in flight, without spilling registers.
  static constexpr int kKeyUnroll = (kHeads > 4 ? 1 : 2) * static_cast<int>(sizeof(Cache));
  static constexpr int kValueUnroll = kHeads <= 4 ? 4 : sizeof(Cache) == 2 ? 2 : 1;

  const PagedAttention& a;
  float* shared;
  SharedLayout at;
  ValuePlan plan;
  int64_t seq;
  int64_t row;
  int kv_head;
  int first_head;  // of kHeads
  int active;      // of them exist
  int seq_len;

  VLLM_DEVICE float* Logits(int g) const { return shared + at.logits + g * kTile; }
  VLLM_DEVICE int* Entries() const { return reinterpret_cast<int*>(shared + at.entries); }

  VLLM_DEVICE void LoadQuery() const {
    const float scale = a.scale * (a.k_scale ? *a.k_scale : 1.0f);
    const T* query = static_cast<const T*>(a.query) + row * a.query_seq_stride;
    for (int i = threadIdx.x; i < kHeads * a.head_size; i += blockDim.x) {
      const int g = i / a.head_size, d = i % a.head_size;
      float x = 0.0f;
      if (g < active) x = ToFloat(query[(first_head + g) * a.query_head_stride + d]) * scale;
      shared[at.query + i] = x;
      shared[at.acc + i] = 0.0f;
    }
    for (int g = threadIdx.x; g < kHeads; g += blockDim.x) {
      shared[at.maxima + g] = Max::kNeutral;
    }
  }

  VLLM_DEVICE void LoadEntries(int start, int tokens) const {
    const int32_t* table = a.block_table + seq * a.table_stride;
    const int first = start / a.block_size, blocks = (tokens + a.block_size - 1) / a.block_size;
    for (int i = threadIdx.x; i < blocks; i += blockDim.x) {
      const int entry = first + i < a.max_blocks ? table[first + i] : 0;
      Entries()[i] = entry < 0 || entry >= a.num_blocks ? 0 : entry;
    }
  }

  // Logits of one token for all heads. Neighbouring threads read neighbouring 16 bytes.
  VLLM_DEVICE void Dot(int token, float (&sum)[kHeads]) const {
    constexpr int kX = 16 / sizeof(Cache);
    const int block = Entries()[token / a.block_size];
    const Cache* key = static_cast<const Cache*>(a.key_cache) + block * a.key_block_stride +
                       kv_head * a.key_head_stride + token % a.block_size * kX;
    VLLM_UNROLL()
    for (int g = 0; g < kHeads; ++g) sum[g] = 0.0f;
    VLLM_UNROLL(kKeyUnroll)
    for (int d = 0; d < a.head_size; d += kX) {
      const auto k = Widen(LoadVector<kX>(key + d * a.block_size));
      VLLM_UNROLL()
      for (int g = 0; g < kHeads; ++g) {
        const float* q = shared + at.query + g * a.head_size + d;
        VLLM_UNROLL()
        for (int j = 0; j < kX; ++j) sum[g] += q[j] * k.lanes[j];
      }
    }
  }

  // Writes the tile's logits and returns this thread's largest of each head.
  VLLM_DEVICE void ComputeLogits(int start, int tokens, float (&largest)[kHeads]) const {
    VLLM_UNROLL()
    for (int g = 0; g < kHeads; ++g) largest[g] = Max::kNeutral;
    for (int t = threadIdx.x; t < tokens; t += blockDim.x) {
      float sum[kHeads];
      Dot(t, sum);
      VLLM_UNROLL()
      for (int g = 0; g < kHeads; ++g) {
        if (a.alibi_slopes && g < active) {
          sum[g] += a.alibi_slopes[first_head + g] * static_cast<float>(start + t - seq_len + 1);
        }
        largest[g] = fmaxf(largest[g], sum[g]);
        Logits(g)[t] = sum[g];
      }
    }
  }

  // The running maximum with this tile's; the factor for what was summed before.
  VLLM_DEVICE void UpdateMaxima(float (&largest)[kHeads], float (&maximum)[kHeads],
                                float (&rescale)[kHeads]) const {
    VLLM_UNROLL()
    for (int g = 0; g < kHeads; ++g) {
      const float wave = ReduceWave<Max>(largest[g]);
      if (LaneId() == 0) shared[at.scratch + g * kMaxWaves + WaveId()] = wave;
    }
    __syncthreads();
    VLLM_UNROLL()
    for (int g = 0; g < kHeads; ++g) {
      const float before = shared[at.maxima + g];
      float now = before;
      for (int w = 0; w < NumWaves(); ++w) {
        now = fmaxf(now, shared[at.scratch + g * kMaxWaves + w]);
      }
      maximum[g] = now;
      rescale[g] = __expf(before - now);
    }
  }

  // Logits become weights; those of the last block's unwritten slots become 0.
  VLLM_DEVICE void Exponentiate(int tokens, const float (&maximum)[kHeads],
                                float (&sum)[kHeads]) const {
    const int padded = (tokens + a.block_size - 1) / a.block_size * a.block_size;
    for (int t = threadIdx.x; t < padded; t += blockDim.x) {
      VLLM_UNROLL()
      for (int g = 0; g < kHeads; ++g) {
        const float weight = t < tokens ? __expf(Logits(g)[t] - maximum[g]) : 0.0f;
        Logits(g)[t] = weight;
        sum[g] += weight;
      }
    }
  }

  // Sums weight * value of this thread's vector over the tile's blocks.
  VLLM_DEVICE void SumValues(int vector, int lane, int tokens, float (&sum)[kHeads]) const {
    const int blocks = (tokens + a.block_size - 1) / a.block_size;
    const int within = vector * kValueTokens % a.block_size;
    const Cache* values = static_cast<const Cache*>(a.value_cache) + kv_head * a.value_head_stride +
                          vector * kValueTokens;
    VLLM_UNROLL(kValueUnroll)
    for (int b = lane; b < blocks; b += plan.lanes) {
      auto v = Widen(LoadVector<kValueTokens>(values + Entries()[b] * a.value_block_stride));
      const int token = b * a.block_size + within;
      // What nothing wrote may be NaN, which a weight of 0 would not hide.
      const int written = tokens - token;
      if (written < kValueTokens) {
        VLLM_UNROLL()
        for (int j = 0; j < kValueTokens; ++j) v.lanes[j] = j < written ? v.lanes[j] : 0.0f;
      }
      VLLM_UNROLL()
      for (int g = 0; g < kHeads; ++g) {
        const auto weights = LoadVector<kValueTokens>(Logits(g) + token);
        VLLM_UNROLL()
        for (int j = 0; j < kValueTokens; ++j) sum[g] += weights.lanes[j] * v.lanes[j];
      }
    }
  }

  VLLM_DEVICE void ComputeValues(int tokens) const {
    const int per_row = a.block_size / kValueTokens, threads = static_cast<int>(blockDim.x);
    const int stride = plan.lanes > 1 ? plan.vectors : threads;
    const int lane = plan.lanes > 1 ? static_cast<int>(threadIdx.x) / plan.vectors : 0;
    for (int first = 0; first < plan.vectors; first += stride) {
      const int vector = first + static_cast<int>(threadIdx.x) - lane * plan.vectors;
      const bool used = vector < plan.vectors && lane < plan.lanes;
      float sum[kHeads];
      VLLM_UNROLL()
      for (int g = 0; g < kHeads; ++g) sum[g] = 0.0f;
      if (used) SumValues(vector, lane, tokens, sum);
      VLLM_UNROLL()
      for (int g = 0; g < kHeads; ++g) {
        for (int mask = per_row / 2; mask > 0; mask /= 2) sum[g] += ShuffleXor(sum[g], mask);
        if (used && vector % per_row == 0) {
          shared[at.partial + (lane * kHeads + g) * a.head_size + vector / per_row] = sum[g];
        }
      }
    }
  }

  VLLM_DEVICE void Accumulate(const float (&maximum)[kHeads],
                              const float (&rescale)[kHeads]) const {
    for (int d = threadIdx.x; d < a.head_size; d += blockDim.x) {
      VLLM_UNROLL()
      for (int g = 0; g < kHeads; ++g) {
        float& acc = shared[at.acc + g * a.head_size + d];
        acc *= rescale[g];
        for (int lane = 0; lane < plan.lanes; ++lane) {
          acc += shared[at.partial + (lane * kHeads + g) * a.head_size + d];
        }
      }
    }
    if (threadIdx.x == 0) {
      VLLM_UNROLL()
      for (int g = 0; g < kHeads; ++g) shared[at.maxima + g] = maximum[g];
    }
  }

  VLLM_DEVICE void Store(const float (&sum)[kHeads], int64_t partition) const {
    const float v_scale = a.v_scale ? *a.v_scale : 1.0f;
    VLLM_UNROLL()
    for (int g = 0; g < kHeads; ++g) {
      const float total = ReduceBlock<Sum>(sum[g], shared + at.scratch + g * kMaxWaves);
      if (g >= active) continue;
      const int head = first_head + g;
      const int64_t part = (seq * a.heads + head) * a.partitions + partition;
      T* out = static_cast<T*>(a.out) + row * a.out_seq_stride + head * a.out_head_stride;
      if (a.partitions > 0) {
        out = static_cast<T*>(a.partial_out) + part * a.head_size;
        if (threadIdx.x == 0) {
          a.exp_sums[part] = total;
          a.max_logits[part] = shared[at.maxima + g];
        }
      }
      const float factor = total > 0.0f ? v_scale / total : 0.0f;
      for (int d = threadIdx.x; d < a.head_size; d += blockDim.x) {
        out[d] = FromFloat<T>(shared[at.acc + g * a.head_size + d] * factor);
      }
    }
  }
};

// Grid: sequences, groups of heads, partitions.
template <typename T, typename Cache, int kHeads>
__global__ void __launch_bounds__(256, 2) PagedAttentionKernel(PagedAttention a) {
  VLLM_DYNAMIC_SHARED(memory);
  const int64_t seq = blockIdx.x, partition = blockIdx.z;
  const int64_t row = RowOf(a, seq);
  if (row < 0) return;
  const int seq_len = a.seq_lens[seq];
  const int begin = static_cast<int>(partition) * kPartitionTokens;
  int end = seq_len;
  if (a.partitions > 0) {
    if (begin >= seq_len) return;
    end = begin + kPartitionTokens < seq_len ? begin + kPartitionTokens : seq_len;
  }
  const int group = a.heads / a.kv_heads, tiles = (group + kHeads - 1) / kHeads;
  const int kv_head = blockIdx.y / tiles, within = blockIdx.y % tiles * kHeads;
  const ValuePlan plan(a.head_size, a.block_size, blockDim.x);
  const Tile<T, Cache, kHeads> tile{a,
                                    reinterpret_cast<float*>(memory),
                                    SharedLayout(kHeads, a.head_size, plan.lanes),
                                    plan,
                                    seq,
                                    row,
                                    kv_head,
                                    kv_head * group + within,
                                    group - within < kHeads ? group - within : kHeads,
                                    seq_len};
  float largest[kHeads], maximum[kHeads], rescale[kHeads], sum[kHeads];
  VLLM_UNROLL()
  for (int g = 0; g < kHeads; ++g) sum[g] = 0.0f;
  tile.LoadQuery();
  for (int start = begin; start < end; start += kTile) {
    const int tokens = end - start < kTile ? end - start : kTile;
    tile.LoadEntries(start, tokens);
    __syncthreads();
    tile.ComputeLogits(start, tokens, largest);
    tile.UpdateMaxima(largest, maximum, rescale);
    VLLM_UNROLL()
    for (int g = 0; g < kHeads; ++g) sum[g] *= rescale[g];
    tile.Exponentiate(tokens, maximum, sum);
    __syncthreads();
    tile.ComputeValues(tokens);
    __syncthreads();
    tile.Accumulate(maximum, rescale);
  }
  __syncthreads();
  tile.Store(sum, partition);
}

// Joins the partitions of v2. Grid: sequences, heads.
template <typename T>
__global__ void JoinKernel(PagedAttention a) {
  VLLM_DYNAMIC_SHARED(memory);
  __shared__ float scratch[2 * kMaxWaves];
  float* weights = reinterpret_cast<float*>(memory);
  const int64_t seq = blockIdx.x, head = blockIdx.y;
  const int64_t row = RowOf(a, seq), first = (seq * a.heads + head) * a.partitions;
  if (row < 0) return;
  const int used = (a.seq_lens[seq] + kPartitionTokens - 1) / kPartitionTokens;
  const int partitions = used < a.partitions ? used : static_cast<int>(a.partitions);
  float largest = Max::kNeutral, sum = 0.0f;
  for (int p = threadIdx.x; p < partitions; p += blockDim.x) {
    largest = fmaxf(largest, a.max_logits[first + p]);
  }
  largest = ReduceBlock<Max>(largest, scratch);
  for (int p = threadIdx.x; p < partitions; p += blockDim.x) {
    weights[p] = __expf(a.max_logits[first + p] - largest) * a.exp_sums[first + p];
    sum += weights[p];
  }
  // Its barrier also publishes the weights.
  sum = ReduceBlock<Sum>(sum, scratch + kMaxWaves);
  const float factor = sum > 0.0f ? 1.0f / sum : 0.0f;
  T* out = static_cast<T*>(a.out) + row * a.out_seq_stride + head * a.out_head_stride;
  const T* parts = static_cast<const T*>(a.partial_out) + first * a.head_size;
  for (int d = threadIdx.x; d < a.head_size; d += blockDim.x) {
    float x = 0.0f;
    for (int p = 0; p < partitions; ++p) x += weights[p] * ToFloat(parts[p * a.head_size + d]);
    out[d] = FromFloat<T>(x * factor);
  }
}

// As few passes over a block's values as 256 threads allow, with few idle threads.
int ThreadsOf(const PagedAttention& a) {
  const int vectors = a.head_size * (a.block_size / kValueTokens);
  const int passes = static_cast<int>(CeilDiv(vectors, 256));
  const int threads = ThreadsFor(CeilDiv(vectors, passes), 256);
  return threads < 128 ? 128 : threads;
}

template <typename T, typename Cache, int kHeads>
void LaunchHeads(const PagedAttention& a) {
  const int threads = ThreadsOf(a);
  const ValuePlan plan(a.head_size, a.block_size, threads);
  const SharedLayout layout(kHeads, a.head_size, plan.lanes);
  const int64_t groups = a.kv_heads * CeilDiv(a.heads / a.kv_heads, kHeads);
  const int64_t partitions = a.partitions > 0 ? a.partitions : 1;
  Launch({a.op, a.seqs, groups, partitions, threads, layout.floats * sizeof(float)}, a.stream,
         PagedAttentionKernel<T, Cache, kHeads>, a);
}

template <typename T, typename Cache>
void LaunchAttention(const PagedAttention& a) {
  const int group = a.heads / a.kv_heads;
  if (group == 1) return LaunchHeads<T, Cache, 1>(a);
  if (group <= 4) return LaunchHeads<T, Cache, 4>(a);
  LaunchHeads<T, Cache, 8>(a);
}

}  // namespace

void RunPagedAttention(const PagedAttention& a) {
  DispatchFloat(a.op, a.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (sizeof(T) == 4) {
      if (a.cache_type != a.type) FailType(a.op);
      LaunchAttention<T, T>(a);
    } else {
      DispatchCache<T>(a.cache_type, [&](auto cache_tag) {
        LaunchAttention<T, typename decltype(cache_tag)::type>(a);
      });
    }
    if (a.partitions == 0) return;
    Launch({a.op, a.seqs, a.heads, 1, 128, a.partitions * sizeof(float)}, a.stream, JoinKernel<T>,
           a);
  });
}

}  // namespace vllm::device
