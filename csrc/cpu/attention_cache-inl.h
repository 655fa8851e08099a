// Reads tiles of keys and values from the paged cache, for one Highway target at a time.

#if defined(VLLM_CPU_ATTENTION_CACHE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_ATTENTION_CACHE_INL_H_
#undef VLLM_CPU_ATTENTION_CACHE_INL_H_
#else
#define VLLM_CPU_ATTENTION_CACHE_INL_H_
#endif

#include <cstring>
#include <type_traits>

#include "cpu/attention.h"
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

// Walks over the positions of one sequence and KV head.
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
  if (args.layout != KvLayout::kRows || args.block_size % kKvGroup != 0) return {};
  const int64_t slot = position % args.block_size;
  const int64_t block =
      args.block_table[seq * args.block_table_stride + position / args.block_size];
  const auto row = [=](const void* cache, const KvStrides& strides) {
    return static_cast<const T*>(cache) + block * strides.block + kv_head * strides.head +
           slot * strides.slot;
  };
  return {row(args.key_cache, args.key_strides), row(args.value_cache, args.value_strides)};
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
    return sizeof(A) == kPair * sizeof(T) && args.layout == KvLayout::kRows &&
           args.block_size % kKvGroup == 0 && args.key_strides.slot % kPair == 0;
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
