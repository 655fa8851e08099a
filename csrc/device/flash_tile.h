// The kernel of FlashAttention, a template over the shape of its tiles.
#pragma once

#include "device/async_copy.h"
#include "device/dispatch.h"
#include "device/flash_attention.h"
#include "device/flash_softmax.h"
#include "device/pages.h"

namespace vllm::device {
namespace {

// Rows are pairs of a query token and one of the heads that share a KV head, heads innermost.
// A block of threads has kGroups * 16 of them and takes kKeys keys at a time; kStages tiles of keys
// and values lie in shared memory, of which all but one are on their way there.
template <int kHeadSizeOf, int kGroups, int kKeysOf, int kStagesOf>
struct FlashShape {
  static constexpr int kHeadSize = kHeadSizeOf;
  static constexpr int kKeys = kKeysOf;
  static constexpr int kStages = kStagesOf;
  static constexpr int kRows = kGroups * kMmaRows;
  static constexpr int kThreads = kGroups * kMmaLanes;
  // Rows in shared memory start in different banks.
  static constexpr int kStride = kHeadSize + 8;
  static constexpr int kTile = kKeys * kStride;  // elements of a tile of keys or of values
  static constexpr size_t kSharedBytes = (kRows * kStride + 2 * kStages * kTile) * 2;
};

// The tile's rows of one sequence.
struct Rows {
  int seq;
  int first;  // row of the tile's first one
  int count;  // rows of the sequence
  int query_begin;
  int query_len;
  int key_begin;  // of dense keys
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
  const int key_begin = a.key_start ? a.key_start[low] : 0;
  const int seq_len = a.seq_lens ? a.seq_lens[low] : a.key_start[low + 1] - key_begin;
  const int first = (tile - first_tile(low)) * rows;
  return {low, first, length * group, begin, length, key_begin, seq_len};
}

template <typename T, typename S>
struct FlashTile {
  static constexpr int kHeadSize = S::kHeadSize;
  static constexpr int kKeys = S::kKeys;
  static constexpr int kKeyTiles = kKeys / 8;
  static constexpr int kOutTiles = kHeadSize / 8;

  const FlashAttention& a;
  Rows rows;
  int group;
  int kv_head;
  T* query;
  T* tiles;  // kStages times keys, then values

  VLLM_DEVICE int HeadOf(int row) const { return kv_head * group + row % group; }
  VLLM_DEVICE int TokenOf(int row) const { return rows.query_begin + row / group; }
  // Position in the sequence.
  VLLM_DEVICE int PositionOf(int row) const { return rows.seq_len - rows.query_len + row / group; }

  // One vector of a row of shared memory; zeros beyond the head's size or where `from` is null.
  VLLM_DEVICE void CopyVector(T* to, const T* from, int d) const {
    if (from && d < a.head_size) {
      CopyToShared(to + d, from + d);
    } else {
      StoreVector(to + d, Vector<T, 8>{});
    }
  }

  VLLM_DEVICE void CopyQuery() const {
    const T* in = static_cast<const T*>(a.query);
    for (int i = threadIdx.x; i < S::kRows * kHeadSize / 8; i += S::kThreads) {
      const int r = i / (kHeadSize / 8), row = rows.first + r;
      const T* from = row < rows.count ? in + TokenOf(row) * a.query_token_stride +
                                             HeadOf(row) * a.query_head_stride
                                       : nullptr;
      CopyVector(query + r * S::kStride, from, i % (kHeadSize / 8) * 8);
    }
  }

  VLLM_DEVICE Place Find(int position) const {
    if (position >= rows.seq_len) return {-1, 0};
    if (!a.block_table) {
      const int64_t key = int64_t{rows.key_begin} + position;
      return {key >= 0 && key < a.num_blocks ? key : -1, 0};
    }
    return FindInPages(a.block_table + rows.seq * a.table_stride, a.max_blocks, a.num_blocks,
                       a.block_size, position);
  }

  VLLM_DEVICE const T* RowOf(const void* all, const KeyStrides& strides, Place place) const {
    if (place.block < 0) return nullptr;
    return static_cast<const T*>(all) + place.block * strides.block + place.slot * strides.slot +
           kv_head * strides.head;
  }

  VLLM_DEVICE T* Keys(int stage) const { return tiles + stage * 2 * S::kTile; }
  VLLM_DEVICE T* Values(int stage) const { return Keys(stage) + S::kTile; }

  VLLM_DEVICE void CopyKeys(int start, int stage) const {
    for (int i = threadIdx.x; i < kKeys * kHeadSize / 8; i += S::kThreads) {
      const int k = i / (kHeadSize / 8), d = i % (kHeadSize / 8) * 8;
      const Place place = Find(start + k);
      CopyVector(Keys(stage) + k * S::kStride, RowOf(a.keys, a.key, place), d);
      CopyVector(Values(stage) + k * S::kStride, RowOf(a.values, a.value, place), d);
    }
  }

  // Scaled logits of this lane's rows and keys, -infinity for keys that a row does not see.
  VLLM_DEVICE void Logits(int start, const T* keys, const int (&row)[2],
                          FragmentD (&logits)[kKeyTiles]) const {
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
      const float* slopes = a.alibi_slopes;
      const float slope =
          exists && slopes ? slopes[rows.seq * a.slopes_stride + HeadOf(row[half])] : 0.0f;
      VLLM_UNROLL()
      for (int i = 0; i < 2 * kKeyTiles; ++i) {
        const int key = start + i / 2 * 8 + MmaLane() % 4 * 2 + i % 2;
        float& x = logits[i / 2].values[half * 2 + i % 2];
        x *= a.scale;
        if (a.soft_cap > 0.0f) x = a.soft_cap * tanhf(x / a.soft_cap);
        x -= slope * fabsf(static_cast<float>(position - key));
        const bool seen = exists && key < rows.seq_len &&
                          (a.window_right < 0 || key - position <= a.window_right) &&
                          (a.window_left < 0 || position - key <= a.window_left);
        if (!seen) x = -INFINITY;
      }
    }
  }

  VLLM_DEVICE void Store(int split, const int (&row)[2], const float (&maximum)[2],
                         const float (&sum)[2], const FragmentD (&out)[kOutTiles]) const {
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      const float total = ReduceLanes<Sum>(sum[half], 4);
      if (row[half] >= rows.count) continue;
      const int head = HeadOf(row[half]);
      const int64_t token = TokenOf(row[half]);
      const float factor = total > 0.0f ? 1.0f / total : 0.0f;
      const float lse = total > 0.0f ? maximum[half] + logf(total) : -INFINITY;
      if (a.splits > 1) {
        const int64_t part = (int64_t{split} * a.heads + head) * a.tokens + token;
        if (MmaLane() % 4 == 0) a.partial_lse[part] = lse;
        // Nobody reads the rows of a part without keys.
        if (total > 0.0f) StoreRow(a.partial_out + part * a.head_size, out, half, factor);
      } else {
        T* to = static_cast<T*>(a.out) + token * a.out_token_stride + head * a.out_head_stride;
        StoreRow(to, out, half, factor);
        if (a.lse && MmaLane() % 4 == 0) a.lse[head * a.lse_stride + token] = lse;
      }
    }
  }

  template <typename Out>
  VLLM_DEVICE void StoreRow(Out* to, const FragmentD (&out)[kOutTiles], int half,
                            float factor) const {
    VLLM_UNROLL()
    for (int n = 0; n < kOutTiles; ++n) {
      const int d = n * 8 + MmaLane() % 4 * 2;
      if (d >= a.head_size) continue;
      to[d] = FromFloat<Out>(out[n].values[half * 2] * factor);
      to[d + 1] = FromFloat<Out>(out[n].values[half * 2 + 1] * factor);
    }
  }

  // A sink is one more key of the first split, whose value is 0; a head without one has -infinity.
  VLLM_DEVICE void AddSinks(const int (&row)[2], SoftmaxState<kOutTiles>& state) const {
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      if (row[half] >= rows.count) continue;
      const float sink = ToFloat(static_cast<const T*>(a.sinks)[HeadOf(row[half])]);
      // A row's maximum starts above that: its first tile may hold no key that it sees.
      if (sink == -INFINITY) continue;
      state.maximum[half] = sink;
      // The four lanes that hold the row sum it once.
      state.sum[half] = MmaLane() % 4 == 0 ? 1.0f : 0.0f;
    }
  }

  struct Range {
    int begin;  // a multiple of kKeys
    int end;
  };

  // Keys that any of the tile's rows sees, or the part of them that is this split's.
  VLLM_DEVICE Range KeysOf(int split) const {
    const int last = rows.first + S::kRows < rows.count ? rows.first + S::kRows : rows.count;
    int begin = 0, end = rows.seq_len;
    if (a.window_right >= 0) {
      const int64_t seen = int64_t{PositionOf(last - 1)} + a.window_right + 1;
      end = seen < end ? static_cast<int>(seen) : end;
    }
    if (a.window_left >= 0) {
      begin = PositionOf(rows.first) - a.window_left;
      begin = begin > 0 ? begin / kKeys * kKeys : 0;
    }
    if (a.splits == 1 || begin >= end) return {begin, end};
    const int wanted = a.seq_splits ? a.seq_splits[rows.seq] : a.splits;
    const int splits = wanted < 1 ? 1 : wanted < a.splits ? wanted : a.splits;
    const int count = (end - begin + kKeys - 1) / kKeys;
    const int keys = (count + splits - 1) / splits * kKeys;
    if (split * int64_t{keys} >= end - begin) return {end, end};
    begin += split * keys;
    return {begin, end - begin < keys ? end : begin + keys};
  }
};

// Grid: tiles of rows, KV heads, splits.
template <typename T, typename S>
__global__ void __launch_bounds__(S::kThreads) FlashKernel(FlashAttention a) {
  VLLM_DYNAMIC_SHARED(memory);
  const int group = a.heads / a.kv_heads;
  const Rows rows = FindRows(a, group, S::kRows, blockIdx.x);
  if (rows.first >= rows.count) return;
  T* shared = reinterpret_cast<T*>(memory);
  const FlashTile<T, S> tile{
      a, rows, group, static_cast<int>(blockIdx.y), shared, shared + S::kRows * S::kStride};
  const int thread = static_cast<int>(threadIdx.x), split = static_cast<int>(blockIdx.z);
  const int first = rows.first + thread / kMmaLanes * kMmaRows + MmaLane() / 4;
  const int row[2] = {first, first + 8};
  // The lanes of a wave go together: a tile of few rows has waves without any.
  const int rows_of_wave = WaveSize() / kMmaLanes * kMmaRows;
  const bool idle = rows.first + WaveId() * rows_of_wave >= rows.count;
  SoftmaxState<S::kHeadSize / 8> state;
  if (a.sinks && split == 0) tile.AddSinks(row, state);
  const auto keys = tile.KeysOf(split);
  tile.CopyQuery();
  VLLM_UNROLL()
  for (int stage = 0; stage + 1 < S::kStages; ++stage) {
    const int start = keys.begin + stage * S::kKeys;
    if (start < keys.end) tile.CopyKeys(start, stage);
    CommitCopies();
  }
  for (int start = keys.begin, stage = 0; start < keys.end; start += S::kKeys) {
    const int next = start + (S::kStages - 1) * S::kKeys;
    if (next < keys.end) tile.CopyKeys(next, (stage + S::kStages - 1) % S::kStages);
    CommitCopies();
    WaitForCopies<S::kStages - 1>();
    __syncthreads();
    if (!idle) {
      FragmentD logits[S::kKeys / 8];
      tile.Logits(start, tile.Keys(stage), row, logits);
      state.Weigh(logits);
      state.template AddValues<T>(logits, tile.Values(stage), S::kStride);
    }
    __syncthreads();
    stage = (stage + 1) % S::kStages;
  }
  WaitForCopies<0>();
  tile.Store(split, row, state.maximum, state.sum, state.out);
}

template <typename T, typename S>
void LaunchFlash(const FlashAttention& a) {
  const int64_t tiles = a.tokens * (a.heads / a.kv_heads) / S::kRows + a.seqs;
  Launch({a.op, tiles, a.kv_heads, a.splits, S::kThreads, S::kSharedBytes}, a.stream,
         FlashKernel<T, S>, a);
}

// With Shape<head size> as the tiles' shape.
template <template <int> class Shape>
void DispatchFlash(const FlashAttention& a) {
  const auto launch = [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (a.head_size <= 64) return LaunchFlash<T, Shape<64>>(a);
    if (a.head_size <= 128) return LaunchFlash<T, Shape<128>>(a);
    LaunchFlash<T, Shape<256>>(a);
  };
  if (a.type == Type::kBFloat16) return launch(Tag<BFloat16>{});
  if (a.type == Type::kFloat16) return launch(Tag<Float16>{});
  FailType(a.op);
}

}  // namespace
}  // namespace vllm::device
