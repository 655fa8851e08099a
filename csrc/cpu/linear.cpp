#include "cpu/linear.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "core/fetch_ahead.h"
#include "core/no_sve.h"
#include "core/parallel.h"
#include "cpu/amx_tile.h"
#include "cpu/amx_trial.h"
#include "cpu/linear_task.h"
#include "cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/linear.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/gemm_tile-inl.h"
#include "cpu/linear_store-inl.h"
#include "cpu/transpose-inl.h"
#include "cpu/vec-inl.h"

#ifndef VLLM_CPU_LINEAR_TASK_
#define VLLM_CPU_LINEAR_TASK_
namespace vllm {

// One call, shared by its threads.
struct LinearTask {
  LinearArgs args;
  LinearWork work;
  bool amx;           // the input is packed, and multiplied, by cpu/amx_tile.h
  FetchAhead* ahead;  // what the next kernel reads and these threads fetch; or null
};

}  // namespace vllm
#endif  // VLLM_CPU_LINEAR_TASK_

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// Rows [begin, begin + kRows) of a panel's product, f32 [kRows][32], to c.
template <class Operands, int kRows, class Fetch>
void PanelTile(const float* packed_input, const void* panel, size_t steps, float* c, Fetch fetch) {
  const F32 df;
  constexpr int kVecs = VecsFor(kRows);
  using Operand = typename Operands::A;
  for (int column = 0; column < kPanel; column += kVecs * kLanes) {
    GemmTile<Operands, kRows, kVecs, false, Fetch>(
        df, reinterpret_cast<const Operand*>(packed_input), One(),
        std::integral_constant<size_t, kRows>(),
        static_cast<const typename Operands::B*>(panel) + column, kPanel, steps, c + column, kPanel,
        nullptr, fetch);
  }
}

template <class Fetch>
using TileFunction = void (*)(const float*, const void*, size_t, float*, Fetch);

// For `kFirst` rows and more.
template <class Operands, class Fetch, int kFirst = 1, size_t... kMore>
constexpr std::array<TileFunction<Fetch>, sizeof...(kMore)> TileTable(
    std::index_sequence<kMore...>) {
  return {PanelTile<Operands, kFirst + kMore, Fetch>...};
}

// Rows of the input for Transpose: as f32 [k][rows], or as pairs of bf16 [k / 2][rows].
template <typename T>
struct LoadAsF32 {
  const T* input;
  int64_t stride;

  HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> Four(int64_t row, int64_t k) const {
    const hn::FixedTag<float, 4> d4;
    const T* from = input + row * stride + k;
    if constexpr (sizeof(T) == sizeof(float)) {
      return hn::LoadU(d4, from);
    } else {
      return hn::PromoteTo(d4, hn::LoadU(hn::Rebind<T, decltype(d4)>(), from));
    }
  }
  HWY_INLINE float One(int64_t row, int64_t k) const {
    return hwy::ConvertScalarTo<float>(input[row * stride + k]);
  }
};

struct LoadPairs {
  const uint16_t* input;
  int64_t stride;
  int64_t k;

  HWY_INLINE hn::Vec<hn::FixedTag<uint32_t, 4>> Four(int64_t row, int64_t pair) const {
    if (2 * pair + 8 > k) {  // the last pair may lack its second half
      alignas(16) const uint32_t pairs[4] = {One(row, pair), One(row, pair + 1), One(row, pair + 2),
                                             One(row, pair + 3)};
      return hn::Load(hn::FixedTag<uint32_t, 4>(), pairs);
    }
    return hn::BitCast(hn::FixedTag<uint32_t, 4>(),
                       hn::LoadU(hn::FixedTag<uint16_t, 8>(), input + row * stride + 2 * pair));
  }
  HWY_INLINE uint32_t One(int64_t row, int64_t pair) const {
    const uint16_t* from = input + row * stride + 2 * pair;
    return from[0] | (2 * pair + 1 < k ? static_cast<uint32_t>(from[1]) << 16 : 0);
  }
};

constexpr bool kPairs = std::is_same_v<typename Bf16Operands::A, uint32_t>;

template <typename T>
constexpr bool kIsBf16 = std::is_same_v<T, hwy::bfloat16_t>;

// Steps of k in a tile, and 4-byte units that a row of packed input takes.
template <typename T>
int64_t Steps(int64_t k) {
  return kIsBf16<T> ? (k + 1) / 2 : k;
}
template <typename T>
int64_t PackedRow(int64_t k) {
  return kIsBf16<T> && !kPairs ? (k + 1) / 2 * 2 : Steps<T>(k);
}

template <typename T>
void PackTiles(const LinearTask& task, float* packed_input, int64_t first_row, int64_t end_row) {
  const LinearArgs& args = task.args;
  const int64_t k = args.weight.k, row_size = PackedRow<T>(k);
  const RowTiles tiles(args.m, kMaxRows);
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    const int64_t begin = tiles.Begin(tile), rows = tiles.Begin(tile + 1) - begin;
    if (begin < first_row || begin >= end_row) continue;
    const T* input = static_cast<const T*>(args.input) + begin * args.input_stride;
    float* packed = packed_input + begin * row_size;
    if constexpr (kIsBf16<T> && kPairs) {
      Transpose(LoadPairs{reinterpret_cast<const uint16_t*>(input), args.input_stride, k}, rows,
                row_size, reinterpret_cast<uint32_t*>(packed), rows);
    } else {
      Transpose(LoadAsF32<T>{input, args.input_stride}, rows, k, packed, rows);
      std::fill(packed + k * rows, packed + row_size * rows, 0.0f);
    }
  }
}

// Stores `tile`, f32 [rows][32], in the type that the layer's output has.
template <typename T>
void StoreTileAs(const LinearArgs& args, int64_t panel, int64_t row, int64_t rows,
                 const float* tile) {
  if (args.out_dtype == args.weight.dtype) {
    StorePanelTile<T, T>(args, panel, row, rows, tile);
  } else {
    StorePanelTile<T, float>(args, panel, row, rows, tile);
  }
}

// `next` is as RunItems says; `ahead` is this thread's.
template <typename T>
void RunItem(const LinearTask& task, const float* packed_input, const LinearItem& item,
             int64_t next, FetchCursor* ahead) {
  using Operands =
      std::conditional_t<kIsBf16<T>, Bf16Operands,
                         std::conditional_t<std::is_same_v<T, float>, F32Operands, F16Operands>>;
  // Lines of a panel that one step of k reads.
  constexpr int kStepLines = (kIsBf16<T> ? 2 : 1) * kPanel * sizeof(T) / 64;
  using Rows = std::make_index_sequence<kMaxRows>;
  // Tiles that fetch while they compute: all that a panel needs, one line a step, what the next
  // kernel reads (where three tiles or more share a panel, none is low), or nothing.
  constexpr int kLeastRows = kMaxRows * 2 / 3;
  static constexpr auto kAlone = TileTable<Operands, FetchLines<kStepLines>>(Rows());
  static constexpr auto kFetching = TileTable<Operands, FetchLines<1>>(Rows());
  static constexpr auto kAhead = TileTable<Operands, FetchSpans, kLeastRows>(
      std::make_index_sequence<kMaxRows - kLeastRows + 1>());
  static constexpr auto kPlain = TileTable<Operands, NoFetch>(Rows());
  const LinearArgs& args = task.args;
  const int64_t k = args.weight.k, panel_bytes = PanelElements(k, args.weight.dtype) * sizeof(T);
  const char* packed = static_cast<const char*>(args.weight.packed);
  const char* weight = packed + item.panel * panel_bytes;
  const char* next_weight = packed + std::max<int64_t>(next, 0) * panel_bytes;
  const RowTiles tiles(args.m, kMaxRows);
  const size_t steps = static_cast<size_t>(Steps<T>(k));
  HWY_ALIGN float tile[kMaxRows * kPanel];
  for (int64_t t = item.first; t < item.last; ++t) {
    const int64_t row = tiles.Begin(t), rows = tiles.Begin(t + 1) - row, line = t - item.first;
    const float* input = packed_input + row * PackedRow<T>(k);
    // A single tile fetches a little ahead of itself; the first of several share fetching the next
    // panel, and the others have time for more.
    if (tiles.count == 1) {
      kAlone[rows - 1](input, weight, steps, tile, {weight + 4096});
    } else if (next >= 0 && line < kStepLines) {
      kFetching[rows - 1](input, weight, steps, tile, {next_weight + line * 64 * Steps<T>(k)});
    } else if (ahead != nullptr && line >= kStepLines && rows >= kLeastRows) {
      kAhead[rows - kLeastRows](input, weight, steps, tile, {ahead});
    } else {
      kPlain[rows - 1](input, weight, steps, tile, {});
    }
    StoreTileAs<T>(args, item.panel, row, rows, tile);
  }
}

template <class Packed>
auto* AmxRow(const LinearTask& task, Packed* packed_input, int64_t row) {
  using Unit = std::conditional_t<std::is_const_v<Packed>, const uint16_t, uint16_t>;
  return reinterpret_cast<Unit*>(packed_input) + row * AmxPaddedK(task.args.weight.k);
}

void PackAmxTiles(const LinearTask& task, float* packed_input, int64_t first_row, int64_t end_row) {
  const LinearArgs& args = task.args;
  const RowTiles tiles(args.m, kAmxRows);
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    const int64_t begin = tiles.Begin(tile);
    if (begin < first_row || begin >= end_row) continue;
    AmxPackRows(static_cast<const uint16_t*>(args.input) + begin * args.input_stride,
                args.input_stride, tiles.Begin(tile + 1) - begin, args.weight.k,
                AmxRow(task, packed_input, begin));
  }
}

void RunAmxTask(LinearTask& task, const float* packed_input) {
  const LinearArgs& args = task.args;
  const int64_t k = args.weight.k, panel_elements = PanelElements(k, DType::kBFloat16);
  const RowTiles tiles(args.m, kAmxRows);
  RunItems(task.work, kAmxRows, [&](const LinearItem& item, int64_t next) {
    const uint16_t* packed = static_cast<const uint16_t*>(args.weight.packed);
    const uint16_t* weight = packed + item.panel * panel_elements;
    const uint16_t* next_weight = next < 0 ? weight : packed + next * panel_elements;
    HWY_ALIGN float tile[kAmxRows * kPanel];
    for (int64_t t = item.first; t < item.last; ++t) {
      const int64_t row = tiles.Begin(t), rows = tiles.Begin(t + 1) - row;
      AmxPanelTile(AmxRow(task, packed_input, row), rows, weight, k, tile,
                   reinterpret_cast<const char*>(next_weight));
      StoreTileAs<hwy::bfloat16_t>(args, item.panel, row, rows, tile);
    }
  });
}

template <typename T>
void RunTask(LinearTask& task, const float* packed_input) {
  FetchCursor ahead(task.ahead);
  RunItems(task.work, kMaxRows, [&](const LinearItem& item, int64_t next) {
    RunItem<T>(task, packed_input, item, next, task.ahead != nullptr ? &ahead : nullptr);
  });
}

// Packed input is [m][k rounded up to a pair], of 4 bytes; row tile by row tile.
void LinearPackInput(const LinearTask& task, float* packed_input, int64_t first_row,
                     int64_t end_row) {
  if (task.amx) return PackAmxTiles(task, packed_input, first_row, end_row);
  VLLM_FOR_DTYPE(task.args.weight.dtype, T, PackTiles<T>(task, packed_input, first_row, end_row));
}

void LinearRun(LinearTask& task, const float* packed_input) {
  if (task.amx) return RunAmxTask(task, packed_input);
  VLLM_FOR_DTYPE(task.args.weight.dtype, T, RunTask<T>(task, packed_input));
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(LinearPackInput);
HWY_EXPORT(LinearRun);

namespace {

// Bounds the packed copy of the input.
constexpr int64_t kMaxPackedBytes = int64_t{16} << 20;
constexpr int64_t kBlockBytes = int64_t{512} << 10;
// Packed-input units up to which every thread packs all of the input for itself: it costs less than
// to wait for the others and to take over what they wrote, line by line.
constexpr int64_t kOwnPack = 65536;
// Rows of a call that fetches ahead. Fewer are one or two tiles on any CPU, which are busy with
// their weights; more take so long that what was fetched has left the caches before it is read.
constexpr int64_t kLeastAheadRows = 13, kMostAheadRows = 256;
// More threads hardly share the cache that they would fetch into.
constexpr int kMostAheadThreads = 8;

float* PackedInput(int64_t units) {
  thread_local Scratch scratch;
  return scratch.Get<float>(static_cast<size_t>(units));
}

void RunRows(const LinearArgs& args, int64_t units) {
  const auto pack = VLLM_DISPATCH(LinearPackInput);
  const auto run = VLLM_DISPATCH(LinearRun);
  const int64_t panels = PanelCount(args.weight.n, args.weight.order);
  const int64_t work = panels * kPanelWidth * units / 4 * std::min<int64_t>(args.m, 8);
  const int threads = static_cast<int>(
      std::clamp<int64_t>(std::min<int64_t>(work / kMinWorkPerThread, panels), 1, MaxThreads()));
  LinearTask task{args,
                  {args.m, panels, std::max<int64_t>(48, kBlockBytes / (units * 4)), threads},
                  args.weight.dtype == DType::kBFloat16 && UseAmx(),
                  nullptr};
  if (!task.amx && args.m >= kLeastAheadRows && args.m <= kMostAheadRows &&
      threads <= kMostAheadThreads) {
    if (FetchAhead* ahead = FetchAhead::Current(); ahead && ahead->Any()) task.ahead = ahead;
  }
  const auto run_alone = [&] {
    float* packed_input = PackedInput(args.m * units);
    pack(task, packed_input, 0, args.m);
    run(task, packed_input);
  };
  if (threads == 1) return run_alone();
  if (args.m * units <= kOwnPack) {
    return RunParallel(threads, [&](const Worker&) { run_alone(); });
  }
  float* packed_input = PackedInput(args.m * units);
  RunParallel(threads, [&](const Worker& worker) {
    pack(task, packed_input, args.m * worker.index / worker.count,
         args.m * (worker.index + 1) / worker.count);
    worker.Barrier();
    run(task, packed_input);
  });
}

}  // namespace

void Linear(const LinearArgs& args) {
  if (args.m == 0 || args.weight.n == 0) return;
  // Of 4 bytes each, that a row of packed input takes at most.
  const int64_t units = args.weight.k + kAmxStep;
  const int64_t max_rows = std::max<int64_t>(kMaxPackedBytes / (units * 4), 48);
  for (int64_t row = 0; row < args.m; row += max_rows) {
    LinearArgs part = args;
    part.m = std::min(max_rows, args.m - row);
    part.input = static_cast<const char*>(args.input) +
                 row * args.input_stride * static_cast<int64_t>(ElementSize(args.weight.dtype));
    part.out = static_cast<char*>(args.out) +
               row * args.out_stride * static_cast<int64_t>(ElementSize(args.out_dtype));
    RunRows(part, units);
  }
}

}  // namespace vllm
#endif  // HWY_ONCE
