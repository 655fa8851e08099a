#include "cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "core/no_sve.h"
#include "core/parallel.h"
#include "cpu/attention_plan.h"
#include "cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/attention_decode-inl.h"
#include "cpu/attention_tile-inl.h"
#include "cpu/transpose-inl.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// Memory of one thread for one item, in 4-byte units.
template <typename T>
struct ItemMemory {
  using A = typename AttentionOperands<T>::A;

  ItemMemory(Scratch& scratch, int64_t rows, int64_t head_size) {
    const int64_t state = StateSize(rows, head_size), tile = kKvTile * head_size;
    float* memory =
        scratch.Get<float>(static_cast<size_t>(2 * state + rows * head_size + 2 * rows + 2 * tile));
    const auto take = [&memory](int64_t units) { return std::exchange(memory, memory + units); };
    running = take(state);
    part = take(state);
    query = reinterpret_cast<A*>(take(rows * head_size));
    keys = reinterpret_cast<A*>(take(tile));
    values = reinterpret_cast<A*>(take(tile));
    positions = reinterpret_cast<int32_t*>(take(rows));
    slopes = take(rows);
  }

  float* running;
  float* part;
  A* query;
  A* keys;
  A* values;
  int32_t* positions;
  float* slopes;
};

// The query rows of an item for Transpose, units of f32 or pairs of bf16.
template <typename T>
struct QueryRows {
  using A = typename AttentionOperands<T>::A;

  HWY_INLINE const T* Row(int64_t row) const {
    return query + row / group * token_stride + row % group * head_stride;
  }
  HWY_INLINE hn::Vec<hn::FixedTag<A, 4>> Four(int64_t row, int64_t unit) const {
    const hn::FixedTag<A, 4> d4;
    if constexpr (kUsesPairs<T>) {
      return hn::LoadU(d4, reinterpret_cast<const uint32_t*>(Row(row)) + unit);
    } else if constexpr (sizeof(T) == sizeof(float)) {
      return hn::LoadU(d4, Row(row) + unit);
    } else {
      return hn::PromoteTo(d4, hn::LoadU(hn::Rebind<T, decltype(d4)>(), Row(row) + unit));
    }
  }
  HWY_INLINE A One(int64_t row, int64_t unit) const {
    if constexpr (kUsesPairs<T>) {
      A pair;
      std::memcpy(&pair, Row(row) + 2 * unit, sizeof(pair));
      return pair;
    } else {
      return hwy::ConvertScalarTo<A>(Row(row)[unit]);
    }
  }

  const T* query;
  int64_t group, token_stride, head_stride;
};

template <typename T>
RowContext<T> LoadRows(const AttentionArgs& args, const AttentionItem& item, int64_t rows,
                       const ItemMemory<T>& memory) {
  const int64_t group = args.heads / args.kv_heads, used = item.tokens * group;
  const int64_t token = args.QueryBegin(item.seq) + item.first_token, head = item.kv_head * group;
  const QueryRows<T> query{static_cast<const T*>(args.query) + token * args.query_token_stride +
                               head * args.query_head_stride,
                           group, args.query_token_stride, args.query_head_stride};
  const int64_t units = KvTile<T>::KeyUnits(args.head_size);
  if (used < rows) {
    std::fill(memory.query, memory.query + units * rows, typename AttentionOperands<T>::A{0});
  }
  Transpose(query, used, units, memory.query, rows);
  const int64_t first = args.seq_lens[item.seq] - args.QueryLen(item.seq) + item.first_token;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t clamped = std::min(row, used - 1);
    memory.positions[row] = static_cast<int32_t>(first + clamped / group);
    if (args.alibi_slopes) memory.slopes[row] = args.alibi_slopes[head + clamped % group];
  }
  return {&args, rows, memory.query, memory.positions, args.alibi_slopes ? memory.slopes : nullptr};
}

// Head size up to which packed keys are read in place by items of many rows.
constexpr int64_t kMaxTransposedHead = 64;

template <typename A>
struct PackedKeyRows {
  HWY_INLINE hn::Vec<hn::FixedTag<A, 4>> Four(int64_t unit, int64_t key) const {
    return hn::LoadU(hn::FixedTag<A, 4>(), keys + unit * stride + key);
  }
  HWY_INLINE A One(int64_t unit, int64_t key) const { return keys[unit * stride + key]; }

  const A* keys;
  int64_t stride;
};

// A group of packed keys to rows [kKvGroup][KeyUnits(head_size)].
template <typename T>
void CopyPackedKeys(const AttentionArgs& args, const T* from, typename KvTile<T>::A* to) {
  using A = typename KvTile<T>::A;
  const int64_t units = KvTile<T>::KeyUnits(args.head_size);
  Transpose(PackedKeyRows<A>{reinterpret_cast<const A*>(from), args.block_size}, units, kKvGroup,
            to, units);
}

// The tile of positions [begin, min(begin + kKvTile, end)), read or copied.
template <typename T>
KvTileView<T> LoadTile(const AttentionArgs& args, const AttentionItem& item, int64_t begin,
                       int64_t end, const ItemMemory<T>& memory) {
  if (args.code != KvCode::kNone || KvTile<T>::Widens(args)) {
    return WidenedView<T>(args, item.seq, item.kv_head, begin, end, memory.keys, memory.values);
  }
  const int64_t count = std::min(kKvTile, end - begin);
  KvTileView<T> tile{};
  tile.begin = begin;
  tile.padded = (count + kKvGroup - 1) / kKvGroup * kKvGroup;
  tile.values = memory.values;
  const CacheCursor<T> cursor(args, item.seq, item.kv_head, begin);
  const bool packed = args.layout == KvLayout::kPacked;
  const bool in_place = packed || KvTile<T>::ReadsKeysInPlace(args);
  // Large heads are turned around: many rows read a tile, and its units lie lines apart.
  const bool copied = packed && args.head_size > kMaxTransposedHead;
  tile.transposed = packed && !copied;
  if (packed) {
    KvTile<T>::CopyPackedValues(args, item.seq, item.kv_head, begin, begin + count, memory.values);
  } else {
    KvTile<T>::LoadValues(cursor, args.head_size, count, tile.padded, memory.values);
  }
  tile.key_stride = tile.transposed ? args.block_size
                    : packed        ? KvTile<T>::KeyUnits(args.head_size)
                    : in_place      ? args.key_strides.slot / KvTile<T>::kPair
                                    : KvTile<T>::KeyUnits(args.head_size);
  if (!in_place) KvTile<T>::LoadKeys(cursor, args.head_size, count, tile.padded, memory.keys);
  for (int64_t i = 0; i < tile.padded; i += kKvGroup) {
    if (copied) {
      CopyPackedKeys<T>(args, FindGroup<T>(args, item.seq, item.kv_head, begin + i).key,
                        memory.keys + i * tile.key_stride);
    }
    tile.keys[i / kKvGroup] = in_place && !copied
                                  ? reinterpret_cast<const typename KvTile<T>::A*>(
                                        FindGroup<T>(args, item.seq, item.kv_head, begin + i).key)
                                  : memory.keys + i * tile.key_stride;
  }
  tile.FindNext(args, item.seq, item.kv_head, end);
  return tile;
}

// Attention of an item's rows over the positions of one part.
template <typename T>
void RunPart(const RowContext<T>& context, const AttentionItem& item, int64_t part,
             const ItemMemory<T>& memory, const RowState& state) {
  const AttentionArgs& args = *context.args;
  const int64_t first = context.positions[0], end = context.positions[context.rows - 1] + 1;
  int64_t begin = part * kKvPart;
  if (args.sliding_window > 0) {
    begin = std::max(begin, (first + 1 - args.sliding_window) / kKvTile * kKvTile);
  }
  state.Clear(context.rows, args.head_size);
  for (; begin < std::min(end, (part + 1) * kKvPart); begin += kKvTile) {
    KvTileView<T> tile = LoadTile<T>(args, item, begin, end, memory);
    const TileScales scales(args, item.seq, item.kv_head, begin, std::min(begin + kKvTile, end));
    tile.scales = &scales;
    AttendTile<T>(context, tile, state);
  }
}

HWY_INLINE void Merge(const RowState& into, const RowState& from, int64_t rows, int64_t head_size) {
  if (rows % static_cast<int64_t>(hn::MaxLanes(F32())) == 0) {
    MergeState(F32(), into, from, rows, head_size);
  } else {
    MergeState(hn::CappedTag<float, 8>(), into, from, rows, head_size);
  }
}

struct StateRows {
  HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> Four(int64_t d, int64_t row) const {
    return hn::LoadU(hn::FixedTag<float, 4>(), out + d * rows + row);
  }
  HWY_INLINE float One(int64_t d, int64_t row) const { return out[d * rows + row]; }

  const float* out;
  int64_t rows;
};

// Normalizes and writes the rows; `buffer` holds [rows][head_size].
template <typename T>
void WriteRows(const AttentionArgs& args, const AttentionItem& item, int64_t rows,
               const RowState& state, float* HWY_RESTRICT buffer) {
  const F32 df;
  const int64_t group = args.heads / args.kv_heads, lanes = static_cast<int64_t>(hn::Lanes(df));
  Transpose(StateRows{state.out, rows}, args.head_size, rows, buffer, args.head_size);
  for (int64_t row = 0; row < item.tokens * group; ++row) {
    const int64_t token = args.QueryBegin(item.seq) + item.first_token + row / group;
    const int64_t head = item.kv_head * group + row % group;
    const float sum = state.sum[row];
    const VF32 inverse = hn::Set(df, sum > 0 ? args.value_scales.all / sum : 0.0f);
    const float* from = buffer + row * args.head_size;
    T* to = static_cast<T*>(args.out) + token * args.out_token_stride + head * args.out_head_stride;
    for (int64_t d = 0; d < args.head_size; d += lanes) {
      const size_t n = static_cast<size_t>(std::min(lanes, args.head_size - d));
      StoreF32N(hn::Mul(LoadF32N(df, from + d, n), inverse), df, to + d, n);
    }
    if (args.lse) {
      args.lse[head * args.lse_stride + token] =
          sum > 0 ? (state.max[row] + std::log2(sum)) * kLn2 : -HUGE_VALF;
    }
  }
}

// An item of few rows over the packed cache. `next` is the item that this thread takes after it.
template <typename T, int kRows>
void RunDecodeItem(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                   float* workspace, const ItemMemory<T>& memory) {
  using A = typename CacheOperands<T>::A;
  A* query = reinterpret_cast<A*>(memory.query);
  LoadDecodeRows<T>(args, item, query, memory.positions, memory.slopes);
  DecodeRows<T> rows{&args,
                     item.seq,
                     item.kv_head,
                     std::min<int64_t>(memory.positions[kRows - 1] + 1, item.part_end * kKvPart),
                     query,
                     memory.positions,
                     args.alibi_slopes ? memory.slopes : nullptr,
                     reinterpret_cast<typename CacheOperands<T>::B*>(memory.keys),  // and values
                     {}};
  if (next) {
    rows.next = {next->seq, next->kv_head, next->part_begin * kKvPart, args.seq_lens[next->seq]};
  }
  if (item.partial >= 0) {
    return DecodePart<T, kRows>(rows, item.part_begin, {workspace + item.partial, kMaxDecodeRows});
  }
  const RowState running(memory.running, kMaxDecodeRows), part(memory.part, kMaxDecodeRows);
  DecodePart<T, kRows>(rows, item.part_begin, running);
  for (int32_t i = item.part_begin + 1; i < item.part_end; ++i) {
    DecodePart<T, kRows>(rows, i, part);
    DecodeMerge(running, part, kRows, args.head_size);
  }
  WriteDecodeRows<T>(args, item, running);
}

template <typename T>
void RunItemAs(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
               float* workspace, Scratch& scratch) {
  if (IsDecode(args, item)) {
    const ItemMemory<T> memory(scratch, kMaxDecodeRows, args.head_size);
    static constexpr decltype(&RunDecodeItem<T, 1>) kRun[kMaxDecodeRows] = {
        RunDecodeItem<T, 1>, RunDecodeItem<T, 2>, RunDecodeItem<T, 3>, RunDecodeItem<T, 4>,
        RunDecodeItem<T, 5>, RunDecodeItem<T, 6>, RunDecodeItem<T, 7>, RunDecodeItem<T, 8>};
    return kRun[item.tokens * (args.heads / args.kv_heads) - 1](args, item, next, workspace,
                                                                memory);
  }
  const int64_t rows = PaddedRows(item.tokens * (args.heads / args.kv_heads));
  const ItemMemory<T> memory(scratch, rows, args.head_size);
  const RowContext<T> context = LoadRows<T>(args, item, rows, memory);
  if (item.partial >= 0) {
    return RunPart<T>(context, item, item.part_begin, memory, {workspace + item.partial, rows});
  }
  const RowState running(memory.running, rows), part(memory.part, rows);
  RunPart<T>(context, item, item.part_begin, memory, running);
  for (int32_t i = item.part_begin + 1; i < item.part_end; ++i) {
    RunPart<T>(context, item, i, memory, part);
    Merge(running, part, rows, args.head_size);
  }
  WriteRows<T>(args, item, rows, running, part.max);
}

// Merges the parts of a split item, in the order that RunItemAs does.
template <typename T>
void MergeItemAs(const AttentionArgs& args, const AttentionItem& item, float* workspace,
                 Scratch& scratch) {
  const int64_t rows = PaddedRows(item.tokens * (args.heads / args.kv_heads));
  const int64_t size = StateSize(rows, args.head_size);
  const RowState running(workspace + item.partial, rows);
  if (IsDecode(args, item)) {
    for (int64_t i = 1; i < item.part_end - item.part_begin; ++i) {
      DecodeMerge(running, {workspace + item.partial + i * size, rows},
                  item.tokens * (args.heads / args.kv_heads), args.head_size);
    }
    return WriteDecodeRows<T>(args, item, running);
  }
  for (int64_t i = 1; i < item.part_end - item.part_begin; ++i) {
    Merge(running, {workspace + item.partial + i * size, rows}, rows, args.head_size);
  }
  WriteRows<T>(args, item, rows, running, scratch.Get<float>(static_cast<size_t>(size)));
}

void AttentionRunItem(const AttentionArgs& args, const AttentionItem& item,
                      const AttentionItem* next, float* workspace, Scratch& scratch) {
  VLLM_FOR_DTYPE(args.dtype, T, RunItemAs<T>(args, item, next, workspace, scratch));
}

void AttentionMergeItem(const AttentionArgs& args, const AttentionItem& item, const AttentionItem*,
                        float* workspace, Scratch& scratch) {
  VLLM_FOR_DTYPE(args.dtype, T, MergeItemAs<T>(args, item, workspace, scratch));
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(AttentionRunItem);
HWY_EXPORT(AttentionMergeItem);

namespace {

// Units of (row x position) below which a second thread does not pay.
constexpr int64_t kSerialCost = 1024;

using ItemFunction = void (*)(const AttentionArgs&, const AttentionItem&, const AttentionItem*,
                              float*, Scratch&);

// Items that a thread takes at once.
constexpr int64_t kMaxRun = 8;

struct ItemRun {
  const AttentionItem* begin;
  const AttentionItem* end;
};

ItemRun TakeRun(const std::vector<AttentionItem>& items, std::atomic<int64_t>& next,
                int64_t threads) {
  const int64_t count = static_cast<int64_t>(items.size());
  int64_t begin = next.load(std::memory_order_relaxed), end;
  do {
    if (begin >= count) return {nullptr, nullptr};
    end = begin + std::clamp<int64_t>((count - begin) / (8 * threads), 1, kMaxRun);
  } while (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed));
  return {items.data() + begin, items.data() + end};
}

void RunQueue(ItemFunction run, const AttentionArgs& args, const std::vector<AttentionItem>& items,
              std::atomic<int64_t>& next, int64_t threads, float* workspace) {
  thread_local Scratch scratch;
  ItemRun taken = TakeRun(items, next, threads);
  while (taken.begin != taken.end) {
    const AttentionItem& item = *taken.begin++;
    // The next one is known before this one runs, which fetches what it will read.
    if (taken.begin == taken.end) taken = TakeRun(items, next, threads);
    run(args, item, taken.begin, workspace, scratch);
  }
}

}  // namespace

void PagedAttention(const AttentionArgs& args) {
  thread_local AttentionPlan plan;
  thread_local Scratch shared;
  plan.Build(args, MaxThreads());
  int64_t cost = 0;
  for (const AttentionItem& item : plan.items) cost += item.cost;
  const int64_t threads = std::min<int64_t>(
      {MaxThreads(), cost / kSerialCost, static_cast<int64_t>(plan.items.size())});
  float* workspace = shared.Get<float>(static_cast<size_t>(plan.workspace));
  const auto run = VLLM_DISPATCH(AttentionRunItem), merge = VLLM_DISPATCH(AttentionMergeItem);
  std::atomic<int64_t> next_item{0}, next_merge{0};
  const auto& items = plan.items;  // of the calling thread, shared with the others
  const auto& merges = plan.merges;
  if (threads <= 1) {
    RunQueue(run, args, items, next_item, 1, workspace);
    return RunQueue(merge, args, merges, next_merge, 1, workspace);
  }
  RunParallel(static_cast<int>(threads), [&](const Worker& worker) {
    RunQueue(run, args, items, next_item, threads, workspace);
    worker.Barrier();
    RunQueue(merge, args, merges, next_merge, threads, workspace);
  });
}

void AddAttentionReads(const AttentionArgs& args, FetchAhead* ahead) {
  if (args.layout != KvLayout::kPacked) return;
  const int64_t size = args.code == KvCode::kNone ? ElementSize(args.dtype) : 1;
  const int64_t bytes = args.kv_heads * args.head_size * args.block_size * size;
  const auto add = [&](const void* cache, const KvStrides& strides, int64_t block) {
    return ahead->Add(static_cast<const char*>(cache) + block * strides.block * size, bytes);
  };
  for (int64_t seq = 0; seq < args.seqs; ++seq) {
    const int64_t length = args.seq_lens[seq], seen = args.sliding_window + args.QueryLen(seq);
    const int64_t first = args.sliding_window > 0 ? std::max<int64_t>(0, length - seen) : 0;
    const int32_t* blocks = args.block_table + seq * args.block_table_stride;
    for (int64_t i = first / args.block_size; i * args.block_size < length; ++i) {
      if (!add(args.key_cache, args.key_strides, blocks[i])) return;
      if (!add(args.value_cache, args.value_strides, blocks[i])) return;
    }
  }
}

}  // namespace vllm
#endif  // HWY_ONCE
