#include "flashmla/decode.h"

#include "device/async_copy.h"
#include "device/dispatch.h"
#include "device/flash_softmax.h"
#include "device/pages.h"

namespace vllm::device {
namespace {

// 16 groups of 32 lanes: 4 of rows, and for each of those 4 of keys, then of columns of the
// latent. All that hold the same rows compute the same weights from the logits in shared memory.
constexpr int kKeys = 32;  // of a tile; two tiles lie in shared memory, one on its way there
constexpr int kColumnGroups = 4;
constexpr int kColumns = kMlaRank / kColumnGroups;
constexpr int kThreads = kMlaRows / kMmaRows * kColumnGroups * kMmaLanes;
// Rows in shared memory start in different banks.
constexpr int kStride = kMlaWidth + 8;
constexpr int kLogitStride = kKeys + 8;
constexpr size_t kSharedBytes =
    (kMlaRows + 2 * kKeys) * kStride * 2 + kMlaRows * kLogitStride * sizeof(float);
static_assert(kColumnGroups * 8 == kKeys);

template <typename T>
struct MlaTile {
  const MlaDecode& a;
  int64_t seq;
  int first_row;
  int seq_len;
  T* query;
  T* tiles;
  float* logits;

  VLLM_DEVICE int Rows() const { return a.tokens * a.heads; }
  VLLM_DEVICE int Group() const { return static_cast<int>(threadIdx.x) / kMmaLanes; }
  VLLM_DEVICE int FirstRowOfGroup() const { return Group() / kColumnGroups * kMmaRows; }
  VLLM_DEVICE int ColumnGroup() const { return Group() % kColumnGroups; }
  VLLM_DEVICE T* Tile(int stage) const { return tiles + stage * kKeys * kStride; }

  // A row of shared memory by 32 lanes; zeros where `from` is null.
  VLLM_DEVICE void CopyRow(T* to, const T* from) const {
    for (int d = MmaLane() * 8; d < a.width; d += kMmaLanes * 8) {
      if (from) {
        CopyToShared(to + d, from + d);
      } else {
        StoreVector(to + d, Vector<T, 8>{});
      }
    }
  }

  VLLM_DEVICE void CopyQuery() const {
    for (int r = Group(); r < kMlaRows; r += kThreads / kMmaLanes) {
      const int row = first_row + r, token = row / a.heads;
      const T* from = row < Rows() ? static_cast<const T*>(a.query) + seq * a.query_seq_stride +
                                         token * a.query_token_stride +
                                         (row - token * a.heads) * a.query_head_stride
                                   : nullptr;
      CopyRow(query + r * kStride, from);
    }
  }

  VLLM_DEVICE const T* Slot(int position) const {
    if (position >= seq_len) return nullptr;
    const Place place = FindInPages(a.block_table + seq * a.table_stride, a.max_blocks,
                                    a.num_blocks, a.block_size, position);
    if (place.block < 0) return nullptr;
    return static_cast<const T*>(a.cache) + place.block * a.block_stride +
           place.slot * a.slot_stride;
  }

  VLLM_DEVICE void CopyKeys(int start, int stage) const {
    for (int k = Group(); k < kKeys; k += kThreads / kMmaLanes) {
      CopyRow(Tile(stage) + k * kStride, Slot(start + k));
    }
  }

  // This group's 16 rows by 8 keys, scaled; -infinity for keys that a row does not see.
  VLLM_DEVICE void WriteLogits(int start, int stage) const {
    const T* rows = query + FirstRowOfGroup() * kStride;
    const T* keys = Tile(stage) + ColumnGroup() * 8 * kStride;
    FragmentD found{};
    VLLM_UNROLL(4)
    for (int d = 0; d < a.width; d += 16) {
      Mma<T>(found, LoadA(rows + d, kStride), LoadBOfRows(keys + d, kStride));
    }
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      const int r = FirstRowOfGroup() + half * 8 + MmaLane() / 4;
      const int hidden = a.causal ? a.tokens - 1 - (first_row + r) / a.heads : 0;
      VLLM_UNROLL()
      for (int i = 0; i < 2; ++i) {
        const int k = ColumnGroup() * 8 + MmaLane() % 4 * 2 + i;
        const bool seen = first_row + r < Rows() && start + k < seq_len - hidden;
        logits[r * kLogitStride + k] = seen ? found.values[half * 2 + i] * a.scale : -INFINITY;
      }
    }
  }

  VLLM_DEVICE void ReadLogits(FragmentD (&read)[kKeys / 8]) const {
    VLLM_UNROLL()
    for (int i = 0; i < kKeys / 2; ++i) {
      const int half = i / 2 % 2, r = FirstRowOfGroup() + half * 8 + MmaLane() / 4;
      const int k = i / 4 * 8 + MmaLane() % 4 * 2 + i % 2;
      read[i / 4].values[i % 4] = logits[r * kLogitStride + k];
    }
  }

  VLLM_DEVICE void Store(int split, const SoftmaxState<kColumns / 8>& state) const {
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      const float total = ReduceLanes<Sum>(state.sum[half], 4);
      const int row = first_row + FirstRowOfGroup() + half * 8 + MmaLane() / 4;
      if (row >= Rows()) continue;
      const int head = row % a.heads;
      const int64_t token = seq * a.tokens + row / a.heads;
      const float factor = total > 0.0f ? 1.0f / total : 0.0f;
      const bool writes_lse = ColumnGroup() == 0 && MmaLane() % 4 == 0;
      const float lse = total > 0.0f ? state.maximum[half] + logf(total) : -INFINITY;
      if (a.splits > 1) {
        const int64_t part = (int64_t{split} * a.heads + head) * a.seqs * a.tokens + token;
        if (writes_lse) a.partial_lse[part] = lse;
        // Nobody reads the rows of a part without keys.
        if (total > 0.0f) StoreColumns(a.partial_out + part * kMlaRank, state, half, factor);
      } else {
        const int64_t at = token * a.heads + head;
        if (writes_lse) a.lse[at] = lse;
        StoreColumns(static_cast<T*>(a.out) + at * kMlaRank, state, half, factor);
      }
    }
  }

  template <typename Out>
  VLLM_DEVICE void StoreColumns(Out* row, const SoftmaxState<kColumns / 8>& state, int half,
                                float factor) const {
    Out* to = row + ColumnGroup() * kColumns + MmaLane() % 4 * 2;
    VLLM_UNROLL()
    for (int n = 0; n < kColumns / 8; ++n) {
      to[n * 8] = FromFloat<Out>(state.out[n].values[half * 2] * factor);
      to[n * 8 + 1] = FromFloat<Out>(state.out[n].values[half * 2 + 1] * factor);
    }
  }
};

// Grid: tiles of rows, sequences, splits.
template <typename T>
__global__ void __launch_bounds__(kThreads) MlaKernel(MlaDecode a) {
  VLLM_DYNAMIC_SHARED(memory);
  T* shared = reinterpret_cast<T*>(memory);
  const int64_t seq = blockIdx.y;
  const int first_row = static_cast<int>(blockIdx.x) * kMlaRows;
  const int seq_len = a.seq_lens[seq], split = static_cast<int>(blockIdx.z);
  T* tiles = shared + kMlaRows * kStride;
  float* logits = reinterpret_cast<float*>(tiles + 2 * kKeys * kStride);
  const MlaTile<T> tile{a, seq, first_row, seq_len, shared, tiles, logits};
  // Every split has the same number of tiles, the last ones perhaps none.
  const int count = (seq_len + kKeys - 1) / kKeys, per_split = (count + a.splits - 1) / a.splits;
  const int begin = split * per_split, end = begin + per_split < count ? begin + per_split : count;
  const bool idle = first_row + tile.FirstRowOfGroup() >= tile.Rows();
  SoftmaxState<kColumns / 8> state;
  tile.CopyQuery();
  if (begin < end) tile.CopyKeys(begin * kKeys, 0);
  CommitCopies();
  for (int i = begin; i < end; ++i) {
    const int stage = (i - begin) % 2;
    WaitForCopies<0>();
    // Also: all threads are done with the other stage and with the logits.
    __syncthreads();
    if (i + 1 < end) tile.CopyKeys((i + 1) * kKeys, 1 - stage);
    CommitCopies();
    if (!idle) tile.WriteLogits(i * kKeys, stage);
    __syncthreads();
    if (idle) continue;
    FragmentD weights[kKeys / 8];
    tile.ReadLogits(weights);
    state.Weigh(weights);
    const T* values = tile.Tile(stage) + tile.ColumnGroup() * kColumns;
    state.template AddValues<T>(weights, values, kStride);
  }
  WaitForCopies<0>();
  tile.Store(split, state);
}

}  // namespace

void RunMlaDecode(const MlaDecode& a) {
  const int64_t tiles = CeilDiv(int64_t{a.tokens} * a.heads, kMlaRows);
  const LaunchShape shape{a.op, tiles, a.seqs, a.splits, kThreads, kSharedBytes};
  if (a.type == Type::kBFloat16) return Launch(shape, a.stream, MlaKernel<BFloat16>, a);
  if (a.type == Type::kFloat16) return Launch(shape, a.stream, MlaKernel<Float16>, a);
  FailType(a.op);
}

}  // namespace vllm::device
