// Reads tiles of keys and values from the paged cache, for one Highway target at a time.

#if defined(VLLM_CPU_ATTENTION_CACHE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_ATTENTION_CACHE_INL_H_
#undef VLLM_CPU_ATTENTION_CACHE_INL_H_
#else
#define VLLM_CPU_ATTENTION_CACHE_INL_H_
#endif

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "cpu/attention.h"
#include "cpu/attention_plan.h"
#include "cpu/gemm_tile-inl.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// How keys, values and probabilities are multiplied: pairs of bf16 where the CPU has dot products
// of them, f32 otherwise.
template <typename T>
using AttentionOperands = std::conditional_t<std::is_same_v<T, hwy::bfloat16_t> &&
                                                 std::is_same_v<typename Bf16Operands::A, uint32_t>,
                                             Bf16Operands, F32Operands>;

template <typename T>
constexpr bool kUsesPairs = std::is_same_v<typename AttentionOperands<T>::A, uint32_t>;

// How operands that lie packed in the cache are read.
template <typename T>
using CacheOperands =
    std::conditional_t<std::is_same_v<T, hwy::bfloat16_t>, Bf16Operands,
                       std::conditional_t<std::is_same_v<T, float>, F32Operands, F16Operands>>;

// Neighbours (of a key's elements, of positions of values) that lie together in the packed layout.
template <typename T>
constexpr int64_t kCachePair = std::is_same_v<T, hwy::bfloat16_t> ? 2 : 1;

// Walks over the positions of one sequence and KV head, in vLLM's layouts.
template <typename T>
class CacheCursor {
 public:
  CacheCursor(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t position)
      : args_(args),
        blocks_(args.block_table + seq * args.block_table_stride + position / args.block_size),
        head_(kv_head),
        slot_(position % args.block_size) {}

  // The row of the current position; gathered in `buffer` where it is not contiguous.
  const T* Key(T* buffer) const {
    const T* block = static_cast<const T*>(args_.key_cache) + *blocks_ * args_.key_strides.block +
                     head_ * args_.key_strides.head;
    if (args_.layout == KvLayout::kRows) return block + slot_ * args_.key_strides.slot;
    constexpr int64_t kSplit = 16 / sizeof(T);
    for (int64_t d = 0; d < args_.head_size; d += kSplit) {
      std::memcpy(buffer + d, block + d * args_.block_size + slot_ * kSplit, 16);
    }
    return buffer;
  }
  const T* Value(T* buffer) const {
    const T* block = static_cast<const T*>(args_.value_cache) +
                     *blocks_ * args_.value_strides.block + head_ * args_.value_strides.head;
    if (args_.layout == KvLayout::kRows) return block + slot_ * args_.value_strides.slot;
    for (int64_t d = 0; d < args_.head_size; ++d) buffer[d] = block[d * args_.block_size + slot_];
    return buffer;
  }
  void Next() {
    if (++slot_ == args_.block_size) {
      slot_ = 0;
      ++blocks_;
    }
  }

 private:
  const AttentionArgs& args_;
  const int32_t* blocks_;
  int64_t head_;
  int64_t slot_;
};

template <typename T>
HWY_INLINE void WidenRow(const T* HWY_RESTRICT from, int64_t size, float* HWY_RESTRICT to) {
  const F32 df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) hn::StoreU(LoadF32(df, from + i), df, to + i);
  if (i < size) {
    const size_t n = static_cast<size_t>(size - i);
    hn::StoreN(LoadF32N(df, from + i, n), df, to + i, n);
  }
}

// to[i] = low[i] | high[i] << 16; null rows are zero.
HWY_INLINE void PairRows(const uint16_t* HWY_RESTRICT low, const uint16_t* HWY_RESTRICT high,
                         int64_t size, uint32_t* HWY_RESTRICT to) {
  const hn::ScalableTag<uint32_t> du;
  const hn::Rebind<uint16_t, decltype(du)> du16;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(du));
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto lo = hn::PromoteTo(du, hn::LoadU(du16, low + i));
    const auto hi = high ? hn::PromoteTo(du, hn::LoadU(du16, high + i)) : hn::Zero(du);
    hn::StoreU(hn::Or(lo, hn::ShiftLeft<16>(hi)), du, to + i);
  }
  for (; i < size; ++i) to[i] = low[i] | (high ? static_cast<uint32_t>(high[i]) << 16 : 0);
}

// Positions [begin, end) of a sequence and KV head.
struct KvSpan {
  int64_t seq = 0, kv_head = 0, begin = 0, end = 0;
};

// Positions whose rows are addressed together.
inline constexpr int64_t kKvGroup = 16;

// Where the rows of a group lie in the cache; null if they are not in one block.
template <typename T>
struct GroupRows {
  const T* key = nullptr;
  const T* value = nullptr;
};

// `position` is a multiple of kKvGroup.
template <typename T>
GroupRows<T> FindGroup(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t position) {
  if (args.layout == KvLayout::kSplitKey || args.block_size % kKvGroup != 0) return {};
  const int64_t slot = position % args.block_size;
  const int64_t block =
      args.block_table[seq * args.block_table_stride + position / args.block_size];
  const bool packed = args.layout == KvLayout::kPacked;
  const auto row = [=](const void* cache, const KvStrides& strides, int64_t slot_stride) {
    return static_cast<const T*>(cache) + block * strides.block + kv_head * strides.head +
           slot * (packed ? slot_stride : strides.slot);
  };
  return {row(args.key_cache, args.key_strides, kCachePair<T>),
          row(args.value_cache, args.value_strides, args.head_size)};
}

// Positions of one block in the packed layout, as operands.
template <typename T>
struct PackedRun {
  using B = typename CacheOperands<T>::B;
  static constexpr int64_t kPair = kCachePair<T>;

  const B* keys = nullptr;  // [head_size / kPair][key_step], a position a column
  int64_t key_step = 0;
  const B* values = nullptr;  // [positions / kPair][head_size]
  int64_t first = 0;          // position within the tile
  int64_t count = 0;          // a multiple of kKvGroup
};

// From `position`, a multiple of kKvGroup, to the end of its block.
template <typename T>
PackedRun<T> FirstRun(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t position) {
  const GroupRows<T> group = FindGroup<T>(args, seq, kv_head, position);
  using B = typename PackedRun<T>::B;
  return {reinterpret_cast<const B*>(group.key), args.block_size,
          reinterpret_cast<const B*>(group.value), 0, args.block_size - position % args.block_size};
}

// Positions [begin, end) of one sequence and KV head, begin being a multiple of kKvTile. Values
// past `end` are zero; keys there are whatever the cache holds.
template <typename T>
struct PackedTile {
  using B = typename PackedRun<T>::B;

  PackedTile() = default;
  PackedTile(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t begin, int64_t end,
             B* buffer) {
    const int64_t whole = (end - begin) / kKvGroup * kKvGroup;
    for (int64_t first = 0; first < whole; first += run[runs++].count) {
      run[runs] = FirstRun<T>(args, seq, kv_head, begin + first);
      run[runs].first = first;
      run[runs].count = std::min(run[runs].count, whole - first);
    }
    const int64_t left = end - begin - whole;
    if (left == 0) return;
    run[runs] = FirstRun<T>(args, seq, kv_head, begin + whole);
    run[runs].first = whole;
    run[runs].count = kKvGroup;
    constexpr int64_t kPair = PackedRun<T>::kPair;
    const int64_t full = left / kPair * args.head_size;
    std::copy(run[runs].values, run[runs].values + full, buffer);
    std::memset(buffer + full, 0,
                static_cast<size_t>(kKvGroup / kPair * args.head_size - full) * sizeof(B));
    if constexpr (kPair == 2) {
      // Of the last pair, what lies first in memory.
      constexpr uint32_t kFirst = HWY_IS_LITTLE_ENDIAN ? 0xFFFFu : 0xFFFF0000u;
      for (int64_t d = 0; left % 2 != 0 && d < args.head_size; ++d) {
        buffer[full + d] = run[runs].values[full + d] & kFirst;
      }
    }
    run[runs++].values = buffer;
  }

  PackedRun<T> run[5];
  int runs = 0;
};

// Zeros the values [pairs][head_size][kPair] of positions [from, to).
template <int64_t kPair, typename T>
HWY_INLINE void ClearValues(T* values, int64_t head_size, int64_t from, int64_t to) {
  for (; from % kPair != 0 && from < to; ++from) {
    T* row = values + from / kPair * kPair * head_size + from % kPair;
    for (int64_t d = 0; d < head_size; ++d) std::memset(row + d * kPair, 0, sizeof(T));
  }
  std::memset(values + from * head_size, 0,
              static_cast<size_t>((to - from) * head_size) * sizeof(T));
}

// `rows` rows of `columns` (a multiple of 8) units to f32; the halves of units that are pairs
// become rows of their own.
template <class Operands>
HWY_INLINE void WidenUnits(const typename Operands::B* HWY_RESTRICT from, int64_t stride,
                           int64_t rows, int64_t columns, float* HWY_RESTRICT to,
                           int64_t to_stride) {
  const auto widen = [&](auto df, int64_t i) {
    const auto unit = Operands::LoadB(df, from + i);
    for (int s = 0; s < Operands::kSub; ++s) {
      hn::StoreU(Operands::Part(df, unit, s), df, to + s * to_stride + i);
    }
  };
  const hn::CappedTag<float, 16> df;
  const hn::CappedTag<float, 8> d8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  for (int64_t row = 0; row < rows; ++row, from += stride, to += Operands::kSub * to_stride) {
    int64_t i = 0;
    for (; i + lanes <= columns; i += lanes) widen(df, i);
    for (; i < columns; i += static_cast<int64_t>(hn::Lanes(d8))) widen(d8, i);
  }
}

// Positions [begin, end) of the packed layout as f32: keys [head_size][kKvTile], values
// [kKvTile][head_size], zero past `end`.
template <typename T>
void WidenPackedTile(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t begin,
                     int64_t end, float* keys, float* values) {
  constexpr int64_t kPair = PackedRun<T>::kPair;
  const int64_t size = args.head_size, count = end - begin;
  const int64_t padded = (count + kKvGroup - 1) / kKvGroup * kKvGroup;
  for (int64_t first = 0, some; first < padded; first += some) {
    const PackedRun<T> run = FirstRun<T>(args, seq, kv_head, begin + first);
    some = std::min(run.count, padded - first);
    WidenUnits<CacheOperands<T>>(run.keys, run.key_step, size / kPair, some, keys + first, kKvTile);
    WidenUnits<CacheOperands<T>>(run.values, size, some / kPair, size, values + first * size, size);
  }
  ClearValues<1>(values, size, count, padded);
}

// Keys of positions [position, position + count) as rows of A [padded][Units(head_size)]; rows from
// `count` on are zero. Values as A [padded / kPair][head_size], the positions of a pair together.
template <typename T>
struct KvTile {
  using A = typename AttentionOperands<T>::A;
  static constexpr int64_t kPair = kUsesPairs<T> ? 2 : 1;

  static int64_t KeyUnits(int64_t head_size) { return head_size / kPair; }

  // Whether keys can be operands as they lie in the cache. What a block holds past the sequence's
  // end is multiplied, then masked.
  static bool ReadsKeysInPlace(const AttentionArgs& args) {
    return sizeof(A) == kPair * sizeof(T) && args.layout != KvLayout::kSplitKey &&
           args.block_size % kKvGroup == 0 && args.key_strides.slot % kPair == 0;
  }

  // Whether packed keys and values are widened, a tile at a time.
  static bool Widens(const AttentionArgs& args) {
    return args.layout == KvLayout::kPacked && sizeof(A) != kPair * sizeof(T);
  }

  static void LoadKeys(CacheCursor<T> cursor, int64_t head_size, int64_t count, int64_t padded,
                       A* HWY_RESTRICT keys) {
    T buffer[kMaxHeadSize];
    const int64_t units = KeyUnits(head_size);
    for (int64_t i = 0; i < count; ++i, cursor.Next()) {
      if constexpr (kUsesPairs<T>) {
        std::memcpy(keys + i * units, cursor.Key(buffer), head_size * sizeof(T));
      } else {
        WidenRow(cursor.Key(buffer), head_size, keys + i * units);
      }
    }
    std::memset(keys + count * units, 0, (padded - count) * units * sizeof(A));
  }

  // The values of PackedTile in one piece.
  static void CopyPackedValues(const AttentionArgs& args, int64_t seq, int64_t kv_head,
                               int64_t begin, int64_t end, A* HWY_RESTRICT values) {
    if constexpr (std::is_same_v<A, typename PackedRun<T>::B>) {
      A tail[kKvGroup / kPair * kMaxHeadSize];
      const PackedTile<T> tile(args, seq, kv_head, begin, end, tail);
      for (int i = 0; i < tile.runs; ++i) {
        const PackedRun<T>& run = tile.run[i];
        std::memcpy(values + run.first / kPair * args.head_size, run.values,
                    static_cast<size_t>(run.count / kPair * args.head_size) * sizeof(A));
      }
    }
  }

  static void LoadValues(CacheCursor<T> cursor, int64_t head_size, int64_t count, int64_t padded,
                         A* HWY_RESTRICT values) {
    T buffer[kMaxHeadSize];
    int64_t i = 0;
    if constexpr (kUsesPairs<T>) {
      T second[kMaxHeadSize];
      for (; i < count; i += 2, values += head_size) {
        const T* low = cursor.Value(buffer);
        const T* high = nullptr;
        cursor.Next();
        if (i + 1 < count) {
          high = cursor.Value(second);
          cursor.Next();
        }
        PairRows(reinterpret_cast<const uint16_t*>(low), reinterpret_cast<const uint16_t*>(high),
                 head_size, values);
      }
    } else {
      for (; i < count; ++i, cursor.Next(), values += head_size) {
        WidenRow(cursor.Value(buffer), head_size, values);
      }
    }
    if (i < padded) std::memset(values, 0, (padded - i) / kPair * head_size * sizeof(A));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
