// One step of attention: a tile of keys and values against the rows of an item, for one Highway
// target at a time. Rows (query token, head) lie along vector lanes, so that maxima and sums over
// positions need no work across lanes, keys are read as they lie in the cache, and a row's
// arithmetic is the same in any lane, vector width and batch.

#if defined(VLLM_CPU_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_ATTENTION_TILE_INL_H_
#undef VLLM_CPU_ATTENTION_TILE_INL_H_
#else
#define VLLM_CPU_ATTENTION_TILE_INL_H_
#endif

#include <limits>

#include "cpu/attention_cache-inl.h"
#include "cpu/attention_codes-inl.h"
#include "cpu/attention_plan.h"
#include "cpu/exp2-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// Maximum of a row that has seen no position. Finite, so that differences of maxima are never NaN.
constexpr float kNoMaximum = -1e30f;

// Online softmax of `rows` rows: maxima in units of log2, sums of powers, unnormalized outputs.
struct RowState {
  RowState(float* memory, int64_t rows) : max(memory), sum(max + rows), out(sum + rows) {}

  void Clear(int64_t rows, int64_t head_size) const {
    std::fill(max, max + rows, kNoMaximum);
    std::fill(sum, sum + rows * (1 + head_size), 0.0f);
  }

  float* max;
  float* sum;
  float* out;  // [head_size][rows]
};

// Vectors of sums in a tile: with one operand vector of each kind they fit 32 or 16 registers.
constexpr int kTileSums = HWY_MAX_BYTES == 64 || !HWY_ARCH_X86 ? 16 : 8;

// What the rows of an item share.
template <typename T>
struct RowContext {
  using A = typename AttentionOperands<T>::A;

  const AttentionArgs* args;
  int64_t rows;              // padded
  const A* query;            // [KeyUnits(head_size)][rows]
  const int32_t* positions;  // [rows], ascending; padding repeats the last
  const float* slopes;       // [rows], or null
};

template <typename T>
struct KvTileView {
  using A = typename AttentionOperands<T>::A;

  const A* keys[kKvTile / kKvGroup];
  // Distance of a key's units where the keys of a group are neighbours (`transposed`), else of
  // keys.
  int64_t key_stride;
  bool transposed;
  const A* values;
  int64_t begin;   // first position
  int64_t padded;  // positions loaded, a multiple of kKvGroup
  const TileScales* scales;
  // The tile after this one, fetched meanwhile.
  GroupRows<T> next[kKvTile / kKvGroup];

  // Of the positions up to `last`.
  void FindNext(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t last) {
    for (int64_t i = 0; i < padded && begin + kKvTile + i < last; i += kKvGroup) {
      next[i / kKvGroup] = FindGroup<T>(args, seq, kv_head, begin + kKvTile + i);
    }
  }
};

// Positions [begin, min(begin + kKvTile, end)) of the packed layout, widened. `keys` and the
// `values` behind them are [kKvTile][head_size] units of 4 bytes.
template <typename T>
KvTileView<T> WidenedView(const AttentionArgs& args, int64_t seq, int64_t kv_head, int64_t begin,
                          int64_t end, typename KvTile<T>::A* keys, typename KvTile<T>::A* values) {
  const int64_t tile_end = std::min(begin + kKvTile, end);
  KvTileView<T> tile{};
  tile.begin = begin;
  tile.padded = (tile_end - begin + kKvGroup - 1) / kKvGroup * kKvGroup;
  tile.key_stride = kKvTile;
  tile.transposed = true;
  tile.values = values;
  if (args.code == KvCode::kNone) {
    if constexpr (std::is_same_v<typename KvTile<T>::A, float>) {
      WidenPackedTile<T>(args, seq, kv_head, begin, tile_end, keys, values);
    }
    tile.FindNext(args, seq, kv_head, end);
  } else if constexpr (std::is_same_v<typename KvTile<T>::A, typename PackedRun<T>::B>) {
    tile.values =
        WidenTile<T>(args, seq, kv_head, begin, tile_end, end, KvSpan{}, keys).run[0].values;
  } else {
    WidenTileF32<T>(args, seq, kv_head, begin, tile_end, keys, values);
  }
  for (int64_t i = 0; i < tile.padded; i += kKvGroup) tile.keys[i / kKvGroup] = keys + i;
  return tile;
}

template <typename T>
HWY_INLINE void PrefetchGroup(const AttentionArgs& args, const GroupRows<T>& group) {
  if (group.key == nullptr) return;
  constexpr int64_t kLine = 64 / sizeof(T);
  if (args.layout == KvLayout::kPacked) {
    constexpr int64_t kPair = kCachePair<T>;
    for (int64_t d = 0; d < args.head_size / kPair; ++d) {
      __builtin_prefetch(group.key + d * args.block_size * kPair, 0, 2);
    }
    for (int64_t i = 0; i < kKvGroup * args.head_size; i += kLine) {
      __builtin_prefetch(group.value + i, 0, 2);
    }
    return;
  }
  for (int64_t i = 0; i < kKvGroup; ++i) {
    for (int64_t d = 0; d < args.head_size; d += kLine) {
      __builtin_prefetch(group.key + i * args.key_strides.slot + d, 0, 2);
      __builtin_prefetch(group.value + i * args.value_strides.slot + d, 0, 2);
    }
  }
}

// logits[i][j] = dot product of key i and query row `column` + j.
template <typename T, int kWidth>
HWY_INLINE void DotProducts(const RowContext<T>& context, const KvTileView<T>& tile, int64_t column,
                            float* HWY_RESTRICT logits) {
  const hn::CappedTag<float, kWidth> df;
  constexpr int kVecs = kWidth / static_cast<int>(hn::MaxLanes(df));
  constexpr int kRows = HWY_MIN(kTileSums / kVecs, static_cast<int>(kKvGroup));
  const AttentionArgs& args = *context.args;
  const size_t rows = static_cast<size_t>(context.rows);
  for (int64_t group = 0; group * kKvGroup < tile.padded; ++group) {
    // Rows that share the tile find it in the cache.
    if (column == 0) PrefetchGroup(args, tile.next[group]);
    const size_t stride = static_cast<size_t>(tile.key_stride);
    const size_t units = static_cast<size_t>(KvTile<T>::KeyUnits(args.head_size));
    for (int64_t i = 0; i < kKvGroup; i += kRows) {
      float* to = logits + (group * kKvGroup + i) * kWidth;
      if (tile.transposed) {
        GemmTile<AttentionOperands<T>, kRows, kVecs>(df, tile.keys[group] + i, One(), stride,
                                                     context.query + column, rows, units, to,
                                                     kWidth);
      } else {
        GemmTile<AttentionOperands<T>, kRows, kVecs>(df, tile.keys[group] + i * tile.key_stride,
                                                     stride, One(), context.query + column, rows,
                                                     units, to, kWidth);
      }
    }
  }
}

// Multiplies the logits of `count` positions by the scales of their keys.
template <int kWidth>
HWY_INLINE void ScaleColumns(const float* HWY_RESTRICT scales, int64_t count,
                             float* HWY_RESTRICT logits) {
  const hn::CappedTag<float, kWidth> df;
  constexpr int64_t kLanes = hn::MaxLanes(df);
  for (int64_t i = 0; i < count * kWidth; i += kLanes) {
    const auto scale = hn::Set(df, scales[i / kWidth]);
    hn::StoreU(hn::Mul(hn::LoadU(df, logits + i), scale), df, logits + i);
  }
}

// Logit in units of log2, where it is more than a multiple of the dot product.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V TransformLogit(D df, V dot, const AttentionArgs& args, V slope, V distance) {
  V x = hn::Mul(dot, hn::Set(df, args.scale));
  if (args.soft_cap > 0) {
    const V twice = hn::Mul(x, hn::Set(df, 2.0f * kLog2E / args.soft_cap));
    const V exp = Exp2(df, hn::Min(twice, hn::Set(df, 126.0f)));
    const V one = hn::Set(df, 1.0f);
    const V tanh = hn::Sub(one, hn::Div(hn::Set(df, 2.0f), hn::Add(one, exp)));
    x = hn::Mul(tanh, hn::Set(df, args.soft_cap));
  }
  x = hn::MulAdd(slope, distance, x);
  return hn::Mul(x, hn::Set(df, kLog2E));
}

// Masks and transforms the logits of rows [column, column + kWidth) in place.
template <typename T, int kWidth>
HWY_INLINE void PrepareLogits(const RowContext<T>& context, const KvTileView<T>& tile,
                              int64_t column, bool transform, float* HWY_RESTRICT logits) {
  const hn::CappedTag<float, kWidth> df;
  const hn::RebindToSigned<decltype(df)> di;
  constexpr int kLanes = hn::MaxLanes(df), kVecs = kWidth / kLanes;
  const AttentionArgs& args = *context.args;
  const int32_t window = args.sliding_window ? static_cast<int32_t>(args.sliding_window)
                                             : hwy::HighestValue<int32_t>();
  const auto infinity = hn::Set(df, -std::numeric_limits<float>::infinity());
  for (int v = 0; v < kVecs; ++v) {
    const int64_t lane = column + v * kLanes;
    const auto row = hn::LoadU(di, context.positions + lane);
    const auto slope = context.slopes ? hn::LoadU(df, context.slopes + lane) : hn::Zero(df);
    for (int64_t i = 0; i < tile.padded; ++i) {
      // How far the row is past the position; visible in [0, window).
      const auto past = hn::Sub(row, hn::Set(di, static_cast<int32_t>(tile.begin + i)));
      const auto visible = hn::And(hn::Ge(past, hn::Zero(di)), hn::Lt(past, hn::Set(di, window)));
      float* at = logits + i * kWidth + v * kLanes;
      auto x = hn::LoadU(df, at);
      if (transform) x = TransformLogit(df, x, args, slope, hn::ConvertTo(df, hn::Neg(past)));
      hn::StoreU(hn::IfThenElse(hn::RebindMask(df, visible), x, infinity), df, at);
    }
  }
}

// The probabilities of two positions, rounded to bf16, as a row of operand B.
template <class D>
HWY_INLINE void StoreProbabilityPair(D df, hn::Vec<D> p0, hn::Vec<D> p1, uint32_t* to) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<hwy::bfloat16_t, D> dbf16;
  const hn::Rebind<uint16_t, D> du16;
  const auto lo = hn::PromoteTo(du, hn::BitCast(du16, hn::DemoteTo(dbf16, p0)));
  const auto hi = hn::PromoteTo(du, hn::BitCast(du16, hn::DemoteTo(dbf16, p1)));
  hn::StoreU(hn::Or(lo, hn::ShiftLeft<16>(hi)), du, to);
}

// Over `count` (a multiple of 16) positions; in four chains, as a maximum takes several cycles.
template <int kWidth, class D>
HWY_INLINE hn::Vec<D> HighestLogits(D df, const float* HWY_RESTRICT logits, int64_t count) {
  hn::Vec<D> highest[4];
  HWY_UNROLL(4)
  for (int chain = 0; chain < 4; ++chain) highest[chain] = hn::LoadU(df, logits + chain * kWidth);
  for (int64_t i = 4; i < count; i += 4) {
    HWY_UNROLL(4)
    for (int chain = 0; chain < 4; ++chain) {
      highest[chain] = hn::Max(highest[chain], hn::LoadU(df, logits + (i + chain) * kWidth));
    }
  }
  return hn::Max(hn::Max(highest[0], highest[1]), hn::Max(highest[2], highest[3]));
}

// Turns logits into probabilities relative to the new maxima; updates maxima and sums and leaves
// in `rescale` the factors for what was accumulated before. `scales` of the values, or null.
template <typename T, int kWidth>
HWY_INLINE void Softmax(const float* HWY_RESTRICT logits, int64_t count, float factor,
                        const float* HWY_RESTRICT scales, float* HWY_RESTRICT max,
                        float* HWY_RESTRICT sum,
                        typename AttentionOperands<T>::A* HWY_RESTRICT probabilities,
                        float* HWY_RESTRICT rescale) {
  const hn::CappedTag<float, kWidth> df;
  constexpr int kLanes = hn::MaxLanes(df), kVecs = kWidth / kLanes;
  const auto scale = hn::Set(df, factor);
  for (int v = 0; v < kVecs; ++v) {
    const float* from = logits + v * kLanes;
    const auto highest = HighestLogits<kWidth>(df, from, count);
    const auto old_max = hn::LoadU(df, max + v * kLanes);
    const auto new_max = hn::Max(old_max, hn::Mul(highest, scale));
    const auto correction = Exp2(df, hn::Sub(old_max, new_max));
    auto total = hn::Zero(df);
    if constexpr (kUsesPairs<T>) {
      for (int64_t i = 0; i < count; i += 2, from += 2 * kWidth) {
        auto p0 = Exp2(df, hn::MulSub(hn::LoadU(df, from), scale, new_max));
        auto p1 = Exp2(df, hn::MulSub(hn::LoadU(df, from + kWidth), scale, new_max));
        total = hn::Add(hn::Add(total, p0), p1);
        if (scales) {
          p0 = hn::Mul(p0, hn::Set(df, scales[i]));
          p1 = hn::Mul(p1, hn::Set(df, scales[i + 1]));
        }
        StoreProbabilityPair(df, p0, p1, probabilities + i / 2 * kWidth + v * kLanes);
      }
    } else {
      for (int64_t i = 0; i < count; ++i, from += kWidth) {
        auto p = Exp2(df, hn::MulSub(hn::LoadU(df, from), scale, new_max));
        total = hn::Add(total, p);
        if (scales) p = hn::Mul(p, hn::Set(df, scales[i]));
        hn::StoreU(p, df, probabilities + i * kWidth + v * kLanes);
      }
    }
    hn::StoreU(new_max, df, max + v * kLanes);
    hn::StoreU(hn::MulAdd(hn::LoadU(df, sum + v * kLanes), correction, total), df,
               sum + v * kLanes);
    hn::StoreU(correction, df, rescale + v * kLanes);
  }
}

// out = out * rescale + values^T * probabilities, for kRows elements of the head at a time; returns
// the first element left.
template <typename T, int kWidth, int kRows>
HWY_INLINE int64_t AddValues(const RowContext<T>& context, const KvTileView<T>& tile,
                             const typename AttentionOperands<T>::A* probabilities,
                             const float* rescale, int64_t d, float* out) {
  const hn::CappedTag<float, kWidth> df;
  const size_t head_size = static_cast<size_t>(context.args->head_size);
  for (; d + kRows <= context.args->head_size; d += kRows) {
    GemmTile<AttentionOperands<T>, kRows, kWidth / static_cast<int>(hn::MaxLanes(df)), true>(
        df, tile.values + d, One(), head_size, probabilities, kWidth,
        static_cast<size_t>(tile.padded / KvTile<T>::kPair), out + d * context.rows,
        static_cast<size_t>(context.rows), rescale);
  }
  return d;
}

// Rows [column, column + kWidth) of an item against one tile.
template <typename T, int kWidth>
void AttendColumns(const RowContext<T>& context, const KvTileView<T>& tile, int64_t column,
                   const RowState& state) {
  constexpr int kVecs = kWidth / static_cast<int>(hn::MaxLanes(hn::CappedTag<float, kWidth>()));
  constexpr int kRows = HWY_MIN(kTileSums / kVecs, 16);
  const AttentionArgs& args = *context.args;
  const int64_t lowest = context.positions[column],
                highest = context.positions[column + kWidth - 1];
  const int64_t end = tile.begin + tile.padded;
  const bool windowed = args.sliding_window > 0;
  // A tile that no row sees would change nothing.
  if (tile.begin > highest || (windowed && end <= lowest - args.sliding_window + 1)) return;

  HWY_ALIGN float logits[kKvTile * kWidth];
  HWY_ALIGN typename AttentionOperands<T>::A probabilities[kKvTile * kWidth];
  HWY_ALIGN float rescale[kWidth];
  DotProducts<T, kWidth>(context, tile, column, logits);
  const float* value_scales = tile.scales->Values();
  if (value_scales) ScaleColumns<kWidth>(tile.scales->key, tile.padded, logits);
  const bool transform = context.slopes != nullptr || args.soft_cap > 0 || args.scale <= 0;
  if (transform || end - 1 > lowest || (windowed && tile.begin <= highest - args.sliding_window)) {
    PrepareLogits<T, kWidth>(context, tile, column, transform, logits);
  }
  Softmax<T, kWidth>(logits, tile.padded, transform ? 1.0f : args.scale * kLog2E, value_scales,
                     state.max + column, state.sum + column, probabilities, rescale);
  float* out = state.out + column;
  const int64_t left = AddValues<T, kWidth, kRows>(context, tile, probabilities, rescale, 0, out);
  if constexpr (kRows > 8) {
    AddValues<T, kWidth, 8>(context, tile, probabilities, rescale, left, out);
  }
}

// All rows of an item against one tile, in groups of two vectors, then of 16 and 8 lanes.
template <typename T>
void AttendTile(const RowContext<T>& context, const KvTileView<T>& tile, const RowState& state) {
  constexpr int kWidest = HWY_MIN(32, 2 * static_cast<int>(hn::MaxLanes(F32())));
  int64_t column = 0;
  for (; column + kWidest <= context.rows; column += kWidest) {
    AttendColumns<T, kWidest>(context, tile, column, state);
  }
  if constexpr (kWidest > 16) {
    if (column + 16 <= context.rows) {
      AttendColumns<T, 16>(context, tile, column, state);
      column += 16;
    }
  }
  if constexpr (kWidest > 8) {
    if (column + 8 <= context.rows) AttendColumns<T, 8>(context, tile, column, state);
  }
}

// into = the softmax over the positions of both, `from` being the later ones.
template <class D>
void MergeState(D df, const RowState& into, const RowState& from, int64_t rows, int64_t head_size) {
  for (int64_t j = 0; j < rows; j += static_cast<int64_t>(hn::Lanes(df))) {
    const auto max0 = hn::LoadU(df, into.max + j), max1 = hn::LoadU(df, from.max + j);
    const auto max = hn::Max(max0, max1);
    const auto scale0 = Exp2(df, hn::Sub(max0, max)), scale1 = Exp2(df, hn::Sub(max1, max));
    hn::StoreU(max, df, into.max + j);
    // The sums lie before the outputs, as one more row of them.
    for (int64_t d = 0; d < 1 + head_size; ++d) {
      float* to = into.sum + d * rows + j;
      const auto later = hn::Mul(hn::LoadU(df, from.sum + d * rows + j), scale1);
      hn::StoreU(hn::MulAdd(hn::LoadU(df, to), scale0, later), df, to);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
