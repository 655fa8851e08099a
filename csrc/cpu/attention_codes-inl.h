// Tiles of an 8-bit KV cache as operands in a buffer, for one Highway target at a time. The buffer
// holds codes as they are, exact in every type; scales of single heads multiply the logits and the
// probabilities of their positions, a scale for all the result.

#if defined(VLLM_CPU_ATTENTION_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_ATTENTION_CODES_INL_H_
#undef VLLM_CPU_ATTENTION_CODES_INL_H_
#else
#define VLLM_CPU_ATTENTION_CODES_INL_H_
#endif

#include <algorithm>

#include "cpu/attention_cache-inl.h"
#include "cpu/kv_code-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// The codes of one block from a position on: keys [head_size / kPair][block_size][kPair], values
// [positions / kPair][head_size][kPair].
struct CodeRun {
  const uint8_t* keys = nullptr;
  const uint8_t* values = nullptr;
};

HWY_INLINE int32_t BlockAt(const AttentionArgs& args, int64_t seq, int64_t position) {
  return args.block_table[seq * args.block_table_stride + position / args.block_size];
}

// `position` is a multiple of kKvGroup.
template <typename T>
HWY_INLINE CodeRun FindCodes(const AttentionArgs& args, int64_t seq, int64_t kv_head,
                             int64_t position) {
  const int64_t block = BlockAt(args, seq, position), slot = position % args.block_size;
  const auto head = [=](const void* cache, const KvStrides& strides) {
    return static_cast<const uint8_t*>(cache) + block * strides.block + kv_head * strides.head;
  };
  return {head(args.key_cache, args.key_strides) + slot * kCachePair<T>,
          head(args.value_cache, args.value_strides) + slot * args.head_size};
}

// Scales of the positions [begin, end) of one sequence and KV head; those past `end` are zero.
struct TileScales {
  TileScales(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t begin, int64_t end) {
    if (args.key_scales.each == nullptr) return;
    present = true;
    for (int64_t i = 0, count; begin + i < end; i += count) {
      const int64_t slot = (begin + i) % args.block_size, block = BlockAt(args, seq, begin + i);
      count = std::min(args.block_size - slot, end - begin - i);
      std::copy_n(args.key_scales.At(block, kv_head, slot), count, key + i);
      std::copy_n(args.value_scales.At(block, kv_head, slot), count, value + i);
    }
    std::fill(key + (end - begin), key + kKvTile, 0.0f);
    std::fill(value + (end - begin), value + kKvTile, 0.0f);
  }

  const float* Values() const { return present ? value : nullptr; }

  bool present = false;
  HWY_ALIGN float key[kKvTile];
  HWY_ALIGN float value[kKvTile];
};

// Calls `widen` with (first position within the tile, positions, codes, codes to fetch meanwhile)
// for the blocks of positions [begin, end). What is fetched is the next tile of this sequence, up
// to `limit`, or else `after`.
template <typename T, class Widen>
HWY_INLINE void ForRuns(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t begin,
                        int64_t end, int64_t limit, const KvSpan& after, const Widen& widen) {
  const int64_t padded = (end - begin + kKvGroup - 1) / kKvGroup * kKvGroup;
  for (int64_t first = 0, count; first < padded; first += count) {
    const int64_t position = begin + first;
    count = std::min(args.block_size - position % args.block_size, padded - first);
    const CodeRun codes = FindCodes<T>(args, seq, kv_head, position);
    CodeRun ahead = codes;
    if (position + kKvTile < limit) {
      ahead = FindCodes<T>(args, seq, kv_head, position + kKvTile);
    } else if (after.begin + first < after.end) {
      ahead = FindCodes<T>(args, after.seq, after.kv_head, after.begin + first);
    }
    widen(first, count, codes, ahead);
  }
}

// Positions [begin, end) as in PackedTile. `buffer` holds keys [head_size / kPair][kKvTile], then
// values [kKvTile / kPair][head_size].
template <typename T>
PackedTile<T> WidenTile(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t begin,
                        int64_t end, int64_t limit, const KvSpan& after,
                        typename PackedRun<T>::B* buffer) {
  constexpr int64_t kPair = PackedRun<T>::kPair;
  const int64_t head_size = args.head_size, stride = args.block_size * kPair;
  T* keys = reinterpret_cast<T*>(buffer);
  T* values = keys + kKvTile * head_size;
  ForRuns<T>(args, seq, kv_head, begin, end, limit, after,
             [&](int64_t first, int64_t count, const CodeRun& codes, const CodeRun& ahead) {
               DecodeCodes(args.code, {codes.keys, stride}, head_size / kPair, count * kPair,
                           keys + first * kPair, kKvTile * kPair, ahead.keys);
               DecodeCodes(args.code, {codes.values, 0}, 1, count * head_size,
                           values + first * head_size, 0, ahead.values);
             });
  PackedTile<T> tile;
  const int64_t padded = (end - begin + kKvGroup - 1) / kKvGroup * kKvGroup;
  ClearValues<kPair>(values, head_size, end - begin, padded);
  tile.run[tile.runs++] = {buffer, kKvTile, buffer + kKvTile * head_size / kPair, 0, padded};
  return tile;
}

// The same in f32, neighbours apart: keys [head_size][kKvTile], values [kKvTile][head_size].
template <typename T>
void WidenTileF32(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t begin,
                  int64_t end, float* keys, float* values) {
  constexpr int64_t kPair = kCachePair<T>;
  const int64_t size = args.head_size, stride = args.block_size * kPair;
  ForRuns<T>(args, seq, kv_head, begin, end, end, KvSpan{},
             [&](int64_t first, int64_t count, const CodeRun& codes, const CodeRun&) {
               float *key = keys + first, *value = values + first * size;
               const CodeRows key_rows{codes.keys, stride}, value_rows{codes.values, kPair * size};
               if constexpr (kPair == 2) {
                 DecodePairs(args.code, key_rows, size / 2, count, key, kKvTile);
                 DecodePairs(args.code, value_rows, count / 2, size, value, size);
               } else {
                 DecodeCodes(args.code, key_rows, size, count, key, kKvTile, codes.keys);
                 DecodeCodes(args.code, value_rows, 1, count * size, value, 0, codes.values);
               }
             });
  const int64_t padded = (end - begin + kKvGroup - 1) / kKvGroup * kKvGroup;
  ClearValues<1>(values, size, end - begin, padded);
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
