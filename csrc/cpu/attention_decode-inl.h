// Attention of few rows (query token, head), as in decoding, over the packed cache, for one Highway
// target at a time. Positions lie along vector lanes for the dot products, elements of the head for
// the values, so that keys and values are operands as they lie in the cache. Each sum has the order
// that attention_tile-inl.h gives it: a row has the same bits from either.

#if defined(VLLM_CPU_ATTENTION_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_ATTENTION_DECODE_INL_H_
#undef VLLM_CPU_ATTENTION_DECODE_INL_H_
#else
#define VLLM_CPU_ATTENTION_DECODE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/attention_codes-inl.h"
#include "cpu/attention_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

using DecodeLanes = hn::CappedTag<float, 16>;
constexpr int kDecodeLanes = hn::MaxLanes(DecodeLanes());

// The rows of an item. `out` and the other states are [rows][head_size].
template <typename T>
struct DecodeRows {
  using A = typename CacheOperands<T>::A;

  const AttentionArgs* args;
  int64_t seq, kv_head;
  int64_t end;                           // of the last row's positions
  const A* query;                        // [rows][QueryUnits]
  const int32_t* positions;              // [rows], ascending
  const float* slopes;                   // [rows], or null
  typename CacheOperands<T>::B* buffer;  // room for keys and values of a tile
  KvSpan next;                           // what is read after this item; may be empty
};

// Factors that change nothing, for as many columns as one call of GemmTile adds to.
HWY_ALIGN static constexpr float kOnes[64] = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

template <typename T>
constexpr bool kDotPairs = std::is_same_v<typename CacheOperands<T>::A, uint32_t>;

// `Call<kCount>(first)` for rows [0, kRows), kMost at a time.
template <int kRows, int kMost, class Call>
HWY_INLINE void ForRows(const Call& call, int first = 0) {
  if constexpr (kRows > kMost) {
    call(std::integral_constant<int, kMost>(), first);
    ForRows<kRows - kMost, kMost>(call, first + kMost);
  } else {
    call(std::integral_constant<int, kRows>(), first);
  }
}

// logits[row][first + i] = dot product of the row and key i of `count` (a multiple of 16) keys.
template <typename T, int kRows>
HWY_INLINE void DecodeDotProducts(const DecodeRows<T>& rows, const PackedRun<T>& run, int64_t count,
                                  const PackedRun<T>& next, float* HWY_RESTRICT logits) {
  using Operands = CacheOperands<T>;
  const DecodeLanes df;
  constexpr int kVecs = 16 / kDecodeLanes;
  const int64_t units = rows.args->head_size / (kDotPairs<T> ? 2 : 1);
  const size_t steps = static_cast<size_t>(rows.args->head_size / PackedRun<T>::kPair);
  const char* ahead = reinterpret_cast<const char*>(next.keys);
  const auto groups = [&](auto vecs, int64_t i) {
    constexpr int kAllVecs = decltype(vecs)::value, kMost = HWY_MAX(1, kTileSums / kAllVecs);
    ForRows<kRows, kMost>([&](auto some, int first) {
      // As many bytes of the next keys as are read of these.
      constexpr int kLines =
          HWY_MAX(1, kAllVecs * kDecodeLanes * static_cast<int>(sizeof(typename Operands::B)) / 64);
      GemmTile<Operands, decltype(some)::value, kAllVecs, false, FetchLines<kLines>>(
          df, rows.query + first * units, static_cast<size_t>(units), One(), run.keys + i,
          static_cast<size_t>(run.key_step), steps, logits + first * kKvTile + i, kKvTile, nullptr,
          {ahead + i * static_cast<int64_t>(steps * sizeof(typename Operands::B))});
    });
  };
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) groups(std::integral_constant<int, 2 * kVecs>(), i);
  for (; i < count; i += 16) groups(std::integral_constant<int, kVecs>(), i);
}

// Masks and transforms one row's logits of positions [begin, begin + padded) in place.
HWY_INLINE void DecodePrepare(const AttentionArgs& args, int64_t position, float slope,
                              bool transform, int64_t begin, int64_t padded,
                              float* HWY_RESTRICT logits) {
  const DecodeLanes df;
  const hn::RebindToSigned<DecodeLanes> di;
  const int32_t window = args.sliding_window ? static_cast<int32_t>(args.sliding_window)
                                             : hwy::HighestValue<int32_t>();
  for (int64_t i = 0; i < padded; i += kDecodeLanes) {
    // How far the row is past each position; visible in [0, window).
    const auto past =
        hn::Sub(hn::Set(di, static_cast<int32_t>(position - begin - i)), hn::Iota(di, 0));
    const auto visible = hn::And(hn::Ge(past, hn::Zero(di)), hn::Lt(past, hn::Set(di, window)));
    auto x = hn::LoadU(df, logits + i);
    if (transform) {
      x = TransformLogit(df, x, args, hn::Set(df, slope), hn::ConvertTo(df, hn::Neg(past)));
    }
    const auto hidden = hn::Set(df, -std::numeric_limits<float>::infinity());
    hn::StoreU(hn::IfThenElse(hn::RebindMask(df, visible), x, hidden), df, logits + i);
  }
}

// Turns one row's logits into probabilities, in f32 in place and as operands; returns the factor
// for what was accumulated before. `scales` of the values, or null.
template <typename T>
HWY_INLINE float DecodeSoftmax(float* HWY_RESTRICT logits, int64_t count, float factor, float* max,
                               const float* HWY_RESTRICT scales,
                               typename CacheOperands<T>::A* HWY_RESTRICT probabilities) {
  const DecodeLanes df;
  const auto scale = hn::Set(df, factor);
  auto highest = hn::LoadU(df, logits);
  for (int64_t i = kDecodeLanes; i < count; i += kDecodeLanes) {
    highest = hn::Max(highest, hn::LoadU(df, logits + i));
  }
  const auto old_max = hn::Set(df, *max);
  const auto new_max = hn::Max(old_max, hn::Mul(hn::MaxOfLanes(df, highest), scale));
  for (int64_t i = 0; i < count; i += kDecodeLanes) {
    auto p = Exp2(df, hn::MulSub(hn::LoadU(df, logits + i), scale, new_max));
    hn::StoreU(p, df, logits + i);
    if (scales) p = hn::Mul(p, hn::LoadU(df, scales + i));
    if constexpr (kDotPairs<T>) {
      const hn::Rebind<hwy::bfloat16_t, DecodeLanes> dbf16;
      hn::StoreU(hn::DemoteTo(dbf16, p), dbf16,
                 reinterpret_cast<hwy::bfloat16_t*>(probabilities) + i);
    } else {
      hn::StoreU(p, df, probabilities + i);
    }
  }
  *max = hn::GetLane(new_max);
  return hn::GetLane(Exp2(df, hn::Sub(old_max, new_max)));
}

// out[row][d] += sum over `count` positions of probability * value.
template <typename T, int kRows, int kVecs, class D>
HWY_INLINE void DecodeColumns(D df, const DecodeRows<T>& rows, const PackedRun<T>& run,
                              int64_t count, const char* ahead,
                              const typename CacheOperands<T>::A* probabilities, int64_t d,
                              float* HWY_RESTRICT out) {
  const int64_t head_size = rows.args->head_size;
  GemmTile<CacheOperands<T>, kRows, kVecs, true, FetchLines<kVecs>>(
      df, probabilities, static_cast<size_t>(kKvTile / (kDotPairs<T> ? 2 : 1)), One(),
      run.values + d, static_cast<size_t>(head_size),
      static_cast<size_t>(count / PackedRun<T>::kPair), out + d, static_cast<size_t>(head_size),
      kOnes, {ahead + d * 2 * count});
}

template <typename T, int kRows>
HWY_INLINE void DecodeAddValues(const DecodeRows<T>& rows, const PackedRun<T>& run, int64_t count,
                                const PackedRun<T>& next,
                                const typename CacheOperands<T>::A* probabilities,
                                float* HWY_RESTRICT out) {
  const DecodeLanes df;
  const hn::CappedTag<float, 8> d8;
  constexpr int64_t kRow = kKvTile / (kDotPairs<T> ? 2 : 1);
  const int64_t head_size = rows.args->head_size;
  const char* ahead = reinterpret_cast<const char*>(next.values);
  constexpr int kWide = HWY_MAX(1, HWY_MIN(4, kTileSums / HWY_MIN(kRows, kTileSums)));
  constexpr int kMost = HWY_MAX(1, kTileSums / kWide);
  ForRows<kRows, kMost>([&](auto some, int first) {
    constexpr int kSome = decltype(some)::value;
    const auto* p = probabilities + first * kRow;
    float* to = out + first * head_size;
    int64_t d = 0;
    for (; d + kWide * kDecodeLanes <= head_size; d += kWide * kDecodeLanes) {
      DecodeColumns<T, kSome, kWide>(df, rows, run, count, ahead, p, d, to);
    }
    for (; d + kDecodeLanes <= head_size; d += kDecodeLanes) {
      DecodeColumns<T, kSome, 1>(df, rows, run, count, ahead, p, d, to);
    }
    for (; d < head_size; d += static_cast<int64_t>(hn::Lanes(d8))) {
      DecodeColumns<T, kSome, 1>(d8, rows, run, count, ahead, p, d, to);
    }
  });
}

// Multiplies the logits of `count` (a multiple of 16) positions by the scales of their keys.
template <int kRows>
HWY_INLINE void ScaleLogits(const float* HWY_RESTRICT scales, int64_t count,
                            float* HWY_RESTRICT logits) {
  const DecodeLanes df;
  for (int64_t i = 0; i < count; i += kDecodeLanes) {
    const auto scale = hn::LoadU(df, scales + i);
    for (int r = 0; r < kRows; ++r) {
      float* at = logits + r * kKvTile + i;
      hn::StoreU(hn::Mul(hn::LoadU(df, at), scale), df, at);
    }
  }
}

// Positions [begin, end) of what the rows see, as operands.
template <typename T>
HWY_INLINE PackedTile<T> ReadTile(const DecodeRows<T>& rows, int64_t begin, int64_t end) {
  const AttentionArgs& args = *rows.args;
  if (args.code == KvCode::kNone) {
    return PackedTile<T>(args, rows.seq, rows.kv_head, begin, end, rows.buffer);
  }
  return WidenTile<T>(args, rows.seq, rows.kv_head, begin, end, rows.end, rows.next, rows.buffer);
}

// What is fetched while `run` of the tile at `begin` is computed: a tile ahead of it, as the memory
// takes longer to answer than one run takes; past the item's end, that of the next one.
template <typename T>
HWY_INLINE PackedRun<T> RunAhead(const DecodeRows<T>& rows, int64_t begin,
                                 const PackedRun<T>& run) {
  const AttentionArgs& args = *rows.args;
  if (args.code != KvCode::kNone) return run;  // WidenTile fetches
  const int64_t position = begin + run.first + kKvTile;
  if (position < rows.end) return FirstRun<T>(args, rows.seq, rows.kv_head, position);
  const KvSpan& next = rows.next;
  // A run may be longer than what is left of the item.
  const int64_t end = (rows.end + run.count - 1) / run.count * run.count;
  const int64_t there = next.begin + std::max<int64_t>(position - end, 0);
  return there < next.end ? FirstRun<T>(args, next.seq, next.kv_head, there) : run;
}

// All rows against the positions [begin, end) of one tile.
template <typename T, int kRows>
void DecodeTile(const DecodeRows<T>& rows, int64_t begin, int64_t end, float* max, float* sum,
                float* out) {
  const AttentionArgs& args = *rows.args;
  HWY_ALIGN float logits[kRows * kKvTile];
  HWY_ALIGN typename CacheOperands<T>::A probabilities[kRows * kKvTile];
  constexpr int64_t kRow = kKvTile / (kDotPairs<T> ? 2 : 1);
  const int64_t padded = (end - begin + kKvGroup - 1) / kKvGroup * kKvGroup;
  const PackedTile<T> tile = ReadTile(rows, begin, end);
  const TileScales scales(args, rows.seq, rows.kv_head, begin, end);
  for (int i = 0; i < tile.runs; ++i) {
    DecodeDotProducts<T, kRows>(rows, tile.run[i], tile.run[i].count,
                                RunAhead(rows, begin, tile.run[i]), logits + tile.run[i].first);
  }
  if (scales.present) ScaleLogits<kRows>(scales.key, padded, logits);
  const bool transform = rows.slopes != nullptr || args.soft_cap > 0 || args.scale <= 0;
  const bool windowed = args.sliding_window > 0;
  float rescales[kRows];
  const float factor = transform ? 1.0f : args.scale * kLog2E;
  for (int r = 0; r < kRows; ++r) {
    float* row = logits + r * kKvTile;
    const int64_t position = rows.positions[r];
    if (transform || begin + padded - 1 > position ||
        (windowed && begin <= position - args.sliding_window)) {
      DecodePrepare(args, position, rows.slopes ? rows.slopes[r] : 0.0f, transform, begin, padded,
                    row);
    }
    const float rescale =
        DecodeSoftmax<T>(row, padded, factor, max + r, scales.Values(), probabilities + r * kRow);
    rescales[r] = rescale;
    if (rescale != 1.0f) {
      const hn::CappedTag<float, 8> d8;
      for (int64_t d = 0; d < args.head_size; d += static_cast<int64_t>(hn::Lanes(d8))) {
        float* at = out + r * args.head_size + d;
        hn::StoreU(hn::Mul(hn::LoadU(d8, at), hn::Set(d8, rescale)), d8, at);
      }
    }
  }
  float total[kRows] = {};  // in the order of positions
  for (int64_t i = 0; i < padded; ++i) {
    for (int r = 0; r < kRows; ++r) total[r] += logits[r * kKvTile + i];
  }
  for (int r = 0; r < kRows; ++r) {
    const hn::CappedTag<float, 1> d1;
    sum[r] = hn::GetLane(
        hn::MulAdd(hn::Set(d1, sum[r]), hn::Set(d1, rescales[r]), hn::Set(d1, total[r])));
  }
  for (int i = 0; i < tile.runs; ++i) {
    DecodeAddValues<T, kRows>(rows, tile.run[i], tile.run[i].count,
                              RunAhead(rows, begin, tile.run[i]),
                              probabilities + tile.run[i].first / (kDotPairs<T> ? 2 : 1), out);
  }
}

// into = the softmax over the positions of both, `from` being the later ones.
HWY_INLINE void DecodeMerge(const RowState& into, const RowState& from, int64_t rows,
                            int64_t head_size) {
  const hn::CappedTag<float, 8> df;
  for (int64_t r = 0; r < rows; ++r) {
    const auto max0 = hn::Set(df, into.max[r]), max1 = hn::Set(df, from.max[r]);
    const auto max = hn::Max(max0, max1);
    const auto scale0 = Exp2(df, hn::Sub(max0, max)), scale1 = Exp2(df, hn::Sub(max1, max));
    const auto merged = [&](float a, float b) {
      return hn::GetLane(hn::MulAdd(hn::Set(df, a), scale0, hn::Mul(hn::Set(df, b), scale1)));
    };
    into.max[r] = hn::GetLane(max);
    into.sum[r] = merged(into.sum[r], from.sum[r]);
    for (int64_t d = 0; d < head_size; d += static_cast<int64_t>(hn::Lanes(df))) {
      float* to = into.out + r * head_size + d;
      const auto later = hn::Mul(hn::LoadU(df, from.out + r * head_size + d), scale1);
      hn::StoreU(hn::MulAdd(hn::LoadU(df, to), scale0, later), df, to);
    }
  }
}

// Query rows of an item as operands; positions and slopes of its rows.
template <typename T>
void LoadDecodeRows(const AttentionArgs& args, const AttentionItem& item,
                    typename CacheOperands<T>::A* query, int32_t* positions, float* slopes) {
  const int64_t group = args.heads / args.kv_heads;
  const int64_t token = args.QueryBegin(item.seq) + item.first_token, head = item.kv_head * group;
  const int64_t first = args.seq_lens[item.seq] - args.QueryLen(item.seq) + item.first_token;
  const int64_t units = args.head_size / (kDotPairs<T> ? 2 : 1);
  for (int64_t row = 0; row < item.tokens * group; ++row) {
    const T* from = static_cast<const T*>(args.query) +
                    (token + row / group) * args.query_token_stride +
                    (head + row % group) * args.query_head_stride;
    if constexpr (kDotPairs<T>) {
      std::memcpy(query + row * units, from, static_cast<size_t>(args.head_size) * sizeof(T));
    } else {
      WidenRow(from, args.head_size, query + row * units);
    }
    positions[row] = static_cast<int32_t>(first + row / group);
    if (args.alibi_slopes) slopes[row] = args.alibi_slopes[head + row % group];
  }
}

// The rows of an item over the positions of one part.
template <typename T, int kRows>
void DecodePart(const DecodeRows<T>& rows, int64_t part, const RowState& state) {
  const AttentionArgs& args = *rows.args;
  const int64_t end = rows.positions[kRows - 1] + 1, part_end = std::min(end, (part + 1) * kKvPart);
  int64_t begin = part * kKvPart;
  if (args.sliding_window > 0) {
    begin = std::max(begin, (rows.positions[0] + 1 - args.sliding_window) / kKvTile * kKvTile);
  }
  std::fill(state.max, state.max + kRows, kNoMaximum);
  std::fill(state.sum, state.sum + kRows, 0.0f);
  std::fill(state.out, state.out + kRows * args.head_size, 0.0f);
  for (; begin < part_end; begin += kKvTile) {
    const int64_t tile_end = std::min(begin + kKvTile, end);
    DecodeTile<T, kRows>(rows, begin, tile_end, state.max, state.sum, state.out);
  }
}

// Normalizes and writes the rows of an item.
template <typename T>
void WriteDecodeRows(const AttentionArgs& args, const AttentionItem& item, const RowState& state) {
  const F32 df;
  const int64_t group = args.heads / args.kv_heads, lanes = static_cast<int64_t>(hn::Lanes(df));
  for (int64_t row = 0; row < item.tokens * group; ++row) {
    const int64_t token = args.QueryBegin(item.seq) + item.first_token + row / group;
    const int64_t head = item.kv_head * group + row % group;
    const float sum = state.sum[row];
    const VF32 inverse = hn::Set(df, sum > 0 ? args.value_scales.all / sum : 0.0f);
    const float* from = state.out + row * args.head_size;
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

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
