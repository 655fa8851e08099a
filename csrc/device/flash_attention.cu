#include "device/flash_attention.h"

#include "device/dispatch.h"
#include "device/mma.h"
#include "device/reduce.h"

namespace vllm::device {
namespace {

constexpr int kKeys = 32;     // of a tile
constexpr int kMmaRows = 16;  // of 32 lanes

// Rows are pairs of a query token and one of the heads that share a KV head, heads innermost.
template <int kHeadSize>
struct Shape {
  static constexpr int kGroups = kHeadSize > 128 ? 2 : 4;  // of 32 lanes
  static constexpr int kRows = kGroups * kMmaRows;
  static constexpr int kThreads = kGroups * kMmaLanes;
  // Rows in shared memory start in different banks.
  static constexpr int kStride = kHeadSize + 8;
  static constexpr size_t kSharedBytes = (kRows + 2 * kKeys) * kStride * 2;
};

// The tile's rows of one sequence.
struct Rows {
  int seq;
  int first;  // row of the tile's first one
  int count;  // rows of the sequence
  int query_begin;
  int query_len;
  int seq_len;
};

// Tiles of sequence s start at tile query_start[s] * group / rows + s, which leaves room for each
// sequence's last, partly filled one; tiles that are left over have no rows.
VLLM_DEVICE Rows FindRows(const FlashAttention& a, int group, int rows, int tile) {
  const auto first_tile = [&](int seq) {
    return static_cast<int>(int64_t{a.query_start[seq]} * group / rows) + seq;
  };
  int low = 0, high = a.seqs - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (first_tile(middle) <= tile) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const int begin = a.query_start[low], length = a.query_start[low + 1] - begin;
  return {low, (tile - first_tile(low)) * rows, length * group, begin, length, a.seq_lens[low]};
}

template <typename T, int kHeadSize>
struct Attention {
  using S = Shape<kHeadSize>;
  static constexpr int kKeyTiles = kKeys / 8;
  static constexpr int kOutTiles = kHeadSize / 8;

  const FlashAttention& a;
  Rows rows;
  int group;
  int kv_head;
  T* query;
  T* keys;
  T* values;

  VLLM_DEVICE int HeadOf(int row) const { return kv_head * group + row % group; }
  VLLM_DEVICE int TokenOf(int row) const { return rows.query_begin + row / group; }
  // Position in the sequence.
  VLLM_DEVICE int PositionOf(int row) const { return rows.seq_len - rows.query_len + row / group; }

  // One vector of a row of shared memory; zeros beyond the head's size or where `from` is null.
  VLLM_DEVICE void CopyVector(T* to, const T* from, int d) const {
    Vector<T, 8> vector{};
    if (from && d < a.head_size) vector = LoadVector<8>(from + d);
    StoreVector(to + d, vector);
  }

  VLLM_DEVICE void LoadQuery() const {
    const T* in = static_cast<const T*>(a.query);
    for (int i = threadIdx.x; i < S::kRows * kHeadSize / 8; i += S::kThreads) {
      const int r = i / (kHeadSize / 8), row = rows.first + r;
      const T* from = row < rows.count ? in + TokenOf(row) * a.query_token_stride +
                                             HeadOf(row) * a.query_head_stride
                                       : nullptr;
      CopyVector(query + r * S::kStride, from, i % (kHeadSize / 8) * 8);
    }
  }

  VLLM_DEVICE const T* CacheRow(const void* cache, const CacheStrides& strides,
                                int position) const {
    if (position >= rows.seq_len || position / a.block_size >= a.max_blocks) return nullptr;
    const int64_t entry = a.block_table[rows.seq * a.table_stride + position / a.block_size];
    const int64_t block = entry < 0 || entry >= a.num_blocks ? 0 : entry;
    return static_cast<const T*>(cache) + block * strides.block +
           position % a.block_size * strides.slot + kv_head * strides.head;
  }

  VLLM_DEVICE void LoadKeys(int start) const {
    for (int i = threadIdx.x; i < kKeys * kHeadSize / 8; i += S::kThreads) {
      const int k = i / (kHeadSize / 8), d = i % (kHeadSize / 8) * 8;
      CopyVector(keys + k * S::kStride, CacheRow(a.key_cache, a.key, start + k), d);
      CopyVector(values + k * S::kStride, CacheRow(a.value_cache, a.value, start + k), d);
    }
  }

  // Scaled logits of this lane's rows and keys, -infinity for keys that a row does not see.
  VLLM_DEVICE void Logits(int start, const int (&row)[2], FragmentD (&logits)[kKeyTiles]) const {
    const T* own = query + static_cast<int>(threadIdx.x) / kMmaLanes * kMmaRows * S::kStride;
    VLLM_UNROLL()
    for (int n = 0; n < kKeyTiles; ++n) logits[n] = FragmentD{};
    VLLM_UNROLL(2)
    for (int d = 0; d < kHeadSize; d += 16) {
      const FragmentA q = LoadA(own + d, S::kStride);
      VLLM_UNROLL()
      for (int n = 0; n < kKeyTiles; ++n) {
        Mma<T>(logits[n], q, LoadBOfRows(keys + n * 8 * S::kStride + d, S::kStride));
      }
    }
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      const bool exists = row[half] < rows.count;
      const int position = exists ? PositionOf(row[half]) : -1;
      const float slope = exists && a.alibi_slopes ? a.alibi_slopes[HeadOf(row[half])] : 0.0f;
      VLLM_UNROLL()
      for (int i = 0; i < 2 * kKeyTiles; ++i) {
        const int key = start + i / 2 * 8 + MmaLane() % 4 * 2 + i % 2;
        float& x = logits[i / 2].values[half * 2 + i % 2];
        x *= a.scale;
        if (a.soft_cap > 0.0f) x = a.soft_cap * tanhf(x / a.soft_cap);
        x -= slope * static_cast<float>(position - key);
        const bool seen =
            key <= position && (a.sliding_window == 0 || position - key < a.sliding_window);
        if (!seen) x = -INFINITY;
      }
    }
  }

  // Weights of the tile's keys; the running maximum and sum of both rows, and what was summed
  // before, follow.
  VLLM_DEVICE void Weigh(FragmentD (&logits)[kKeyTiles], float (&maximum)[2], float (&sum)[2],
                         FragmentD (&out)[kOutTiles]) const {
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      float largest = maximum[half];
      VLLM_UNROLL()
      for (int i = 0; i < 2 * kKeyTiles; ++i) {
        largest = fmaxf(largest, logits[i / 2].values[half * 2 + i % 2]);
      }
      // The four lanes that hold the row.
      largest = ReduceLanes<Max>(largest, 4);
      const float factor = __expf(maximum[half] - largest);
      maximum[half] = largest;
      sum[half] *= factor;
      VLLM_UNROLL()
      for (int i = 0; i < 2 * kKeyTiles; ++i) {
        float& x = logits[i / 2].values[half * 2 + i % 2];
        x = __expf(x - largest);
        sum[half] += x;
      }
      VLLM_UNROLL()
      for (int n = 0; n < kOutTiles; ++n) {
        out[n].values[half * 2] *= factor;
        out[n].values[half * 2 + 1] *= factor;
      }
    }
  }

  VLLM_DEVICE void AddValues(const FragmentD (&weights)[kKeyTiles],
                             FragmentD (&out)[kOutTiles]) const {
    VLLM_UNROLL()
    for (int k = 0; k < kKeys; k += 16) {
      // Two results of 8 columns are, lane by lane, one operand of 16.
      const FragmentD &left = weights[k / 8], &right = weights[k / 8 + 1];
      const FragmentA p{{PackPair<T>(left.values[0], left.values[1]),
                         PackPair<T>(left.values[2], left.values[3]),
                         PackPair<T>(right.values[0], right.values[1]),
                         PackPair<T>(right.values[2], right.values[3])}};
      VLLM_UNROLL()
      for (int n = 0; n < kOutTiles; ++n) {
        Mma<T>(out[n], p, LoadBOfColumns(values + k * S::kStride + n * 8, S::kStride));
      }
    }
  }

  VLLM_DEVICE void Store(const int (&row)[2], const float (&maximum)[2], const float (&sum)[2],
                         const FragmentD (&out)[kOutTiles]) const {
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      const float total = ReduceLanes<Sum>(sum[half], 4);
      if (row[half] >= rows.count) continue;
      const int head = HeadOf(row[half]), lane = MmaLane() % 4;
      const int64_t token = TokenOf(row[half]);
      const float factor = total > 0.0f ? 1.0f / total : 0.0f;
      T* to = static_cast<T*>(a.out) + token * a.out_token_stride + head * a.out_head_stride;
      VLLM_UNROLL()
      for (int n = 0; n < kOutTiles; ++n) {
        const int d = n * 8 + lane * 2;
        if (d >= a.head_size) continue;
        to[d] = FromFloat<T>(out[n].values[half * 2] * factor);
        to[d + 1] = FromFloat<T>(out[n].values[half * 2 + 1] * factor);
      }
      if (a.lse && lane == 0) {
        a.lse[head * a.lse_stride + token] = total > 0.0f ? maximum[half] + logf(total) : -INFINITY;
      }
    }
  }
};

// Grid: KV heads, tiles of rows.
template <typename T, int kHeadSize>
__global__ void __launch_bounds__(Shape<kHeadSize>::kThreads) FlashKernel(FlashAttention a) {
  using S = Shape<kHeadSize>;
  VLLM_DYNAMIC_SHARED(memory);
  const int group = a.heads / a.kv_heads;
  const Rows rows = FindRows(a, group, S::kRows, blockIdx.x);
  if (rows.first >= rows.count) return;
  T* shared = reinterpret_cast<T*>(memory);
  const Attention<T, kHeadSize> tile{a,
                                     rows,
                                     group,
                                     static_cast<int>(blockIdx.y),
                                     shared,
                                     shared + S::kRows * S::kStride,
                                     shared + (S::kRows + kKeys) * S::kStride};
  const int first =
      rows.first + static_cast<int>(threadIdx.x) / kMmaLanes * kMmaRows + MmaLane() / 4;
  const int row[2] = {first, first + 8};
  // Below every logit, so that rows that see no key of a tile stay at weights of 0.
  float maximum[2] = {Max::kNeutral, Max::kNeutral}, sum[2] = {0.0f, 0.0f};
  FragmentD out[kHeadSize / 8];
  VLLM_UNROLL()
  for (int n = 0; n < kHeadSize / 8; ++n) out[n] = FragmentD{};
  tile.LoadQuery();
  const int last = rows.first + S::kRows < rows.count ? rows.first + S::kRows : rows.count;
  const int end = tile.PositionOf(last - 1) + 1;
  int begin = 0;
  if (a.sliding_window > 0) {
    begin = tile.PositionOf(rows.first) - a.sliding_window + 1;
    begin = begin > 0 ? begin / kKeys * kKeys : 0;
  }
  for (int start = begin; start < end; start += kKeys) {
    __syncthreads();
    tile.LoadKeys(start);
    __syncthreads();
    FragmentD logits[kKeys / 8];
    tile.Logits(start, row, logits);
    tile.Weigh(logits, maximum, sum, out);
    tile.AddValues(logits, out);
  }
  tile.Store(row, maximum, sum, out);
}

template <typename T, int kHeadSize>
void LaunchFlash(const FlashAttention& a) {
  using S = Shape<kHeadSize>;
  const int64_t tiles = a.tokens * (a.heads / a.kv_heads) / S::kRows + a.seqs;
  Launch({a.op, tiles, a.kv_heads, 1, S::kThreads, S::kSharedBytes}, a.stream,
         FlashKernel<T, kHeadSize>, a);
}

template <typename T>
void DispatchHeadSize(const FlashAttention& a) {
  if (a.head_size <= 64) return LaunchFlash<T, 64>(a);
  if (a.head_size <= 128) return LaunchFlash<T, 128>(a);
  LaunchFlash<T, 256>(a);
}

}  // namespace

void RunFlashAttention(const FlashAttention& a) {
  if (a.type == Type::kBFloat16) return DispatchHeadSize<BFloat16>(a);
  if (a.type == Type::kFloat16) return DispatchHeadSize<Float16>(a);
  FailType(a.op);
}

}  // namespace vllm::device
