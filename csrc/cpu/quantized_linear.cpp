#include "cpu/quantized_linear.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "core/no_sve.h"
#include "core/parallel.h"
#include "cpu/linear_task.h"
#include "cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/quantized_linear.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/quantized_tile-inl.h"
#include "cpu/transpose-inl.h"

#ifndef VLLM_CPU_QUANTIZED_LINEAR_TASK_
#define VLLM_CPU_QUANTIZED_LINEAR_TASK_
namespace vllm {

// One call, shared by its threads.
struct QuantizedLinearTask {
  QuantizedLinearArgs args;
  LinearWork work;
};

// The quantised input, row tile by row tile, each as InputTile says.
struct QuantizedInput {
  int32_t* codes;
  float* scales;
  int32_t* sums;
};

}  // namespace vllm
#endif  // VLLM_CPU_QUANTIZED_LINEAR_TASK_

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

using QuantizedTileFunction = void (*)(const InputTile&, const WeightPanel&, float*);

template <class Products, int kBits, bool kScaled, bool kZeroed, size_t... kRows>
constexpr std::array<QuantizedTileFunction, sizeof...(kRows)> QuantizedTileTable(
    std::index_sequence<kRows...>) {
  return {QuantizedTile<Products, kBits, kScaled, kZeroed, kRows + 1>...};
}

template <class Products, int kBits, bool kScaled, bool kZeroed>
QuantizedTileFunction TileOf(int64_t rows) {
  static constexpr auto kTiles =
      QuantizedTileTable<Products, kBits, kScaled, kZeroed>(std::make_index_sequence<kMaxRows>());
  return kTiles[rows - 1];
}

template <class Products>
QuantizedTileFunction TileFor(const QuantizedWeight& weight, int64_t rows) {
  if (weight.bits == 4) {
    return weight.zeroed ? TileOf<Products, 4, true, true>(rows)
                         : TileOf<Products, 4, true, false>(rows);
  }
  if (weight.zeroed) return TileOf<Products, 8, true, true>(rows);
  return weight.scaled ? TileOf<Products, 8, true, false>(rows)
                       : TileOf<Products, 8, false, false>(rows);
}

QuantizedTileFunction ChooseTile(const QuantizedWeight& weight, int64_t rows) {
  if constexpr (kBestNeedsVnni) {
    if (!UseVnni()) return TileFor<AnyProducts>(weight, rows);
  }
  return TileFor<BestProducts>(weight, rows);
}

// A row of the input in the weight's order of columns, in `buffer` where that is another one.
template <typename T>
const T* InputRow(const QuantizedLinearArgs& args, int64_t row, T* buffer) {
  const T* input = static_cast<const T*>(args.input) + row * args.input_stride;
  if (args.weight.permutation == nullptr) return input;
  for (int64_t i = 0; i < args.weight.k; ++i) buffer[i] = input[args.weight.permutation[i]];
  return buffer;
}

// Quantised rows for Transpose, in units of four codes.
struct CodeRows {
  const int32_t* codes;
  int64_t units;  // of a row

  HWY_INLINE hn::Vec<hn::FixedTag<int32_t, 4>> Four(int64_t row, int64_t unit) const {
    return hn::LoadU(hn::FixedTag<int32_t, 4>(), codes + row * units + unit);
  }
  HWY_INLINE int32_t One(int64_t row, int64_t unit) const { return codes[row * units + unit]; }
};

template <typename T>
void QuantizeRows(const QuantizedLinearTask& task, const QuantizedInput& quantized,
                  int64_t first_row, int64_t end_row) {
  thread_local Scratch scratch;
  const QuantizedWeight& weight = task.args.weight;
  const int64_t k = weight.k, padded_k = weight.PaddedK(), groups = weight.Groups();
  const int64_t units = padded_k / 4;
  int32_t* codes = scratch.Get<int32_t>(static_cast<size_t>(kMaxRows * units + k));
  T* buffer = reinterpret_cast<T*>(codes + kMaxRows * units);
  const RowTiles tiles(task.args.m, kMaxRows);
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    const int64_t begin = tiles.Begin(tile), rows = tiles.Begin(tile + 1) - begin;
    if (begin < first_row || begin >= end_row) continue;
    for (int64_t r = 0; r < rows; ++r) {
      const T* row = InputRow<T>(task.args, begin + r, buffer);
      int8_t* to = reinterpret_cast<int8_t*>(codes + r * units);
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t at = g * weight.group_size, cell = begin * groups + g * rows + r;
        QuantizeGroup(row + at, std::min(weight.group_size, k - at), to + at,
                      quantized.scales[cell], quantized.sums[cell]);
      }
      std::fill(to + k, to + padded_k, int8_t{0});
    }
    Transpose(CodeRows{codes, units}, rows, units, quantized.codes + begin * units, rows);
  }
}

// The largest of each row of `tile`, f32 [rows][32].
void StorePanelMaxima(const QuantizedLinearArgs& args, int64_t panel, int64_t row, int64_t rows,
                      const float* tile) {
  const F32 df;
  const int64_t columns = std::min<int64_t>(kPanel, args.weight.n - panel * kPanel);
  float* out = static_cast<float*>(args.out) + row * args.out_stride + panel;
  for (int64_t r = 0; r < rows; ++r, tile += kPanel, out += args.out_stride) {
    VF32 largest = hn::Set(df, tile[0]);
    for (int64_t j = 0; j < columns; j += kLanes) {
      const size_t n = static_cast<size_t>(std::min<int64_t>(kLanes, columns - j));
      const VF32 v = hn::LoadU(df, tile + j);
      largest = hn::Max(largest, hn::IfThenElse(hn::FirstN(df, n), v, largest));
    }
    *out = hn::ReduceMax(df, largest);
  }
}

// `fetched`: the panel was fetched by the item before; `next` is as RunItems says.
template <typename T>
void RunQuantizedItem(const QuantizedLinearTask& task, const QuantizedInput& quantized,
                      const LinearItem& item, bool fetched, int64_t next) {
  const QuantizedWeight& weight = task.args.weight;
  const int64_t units = weight.PaddedK() / 4, groups = weight.Groups();
  const int64_t panel_bytes = weight.PanelBytes();
  const uint8_t* data = weight.panels + item.panel * panel_bytes;
  const uint8_t* next_data = next < 0 ? nullptr : weight.panels + next * panel_bytes;
  const RowTiles tiles(task.args.m, kMaxRows);
  // A single tile, or the first of a panel that nobody fetched, fetches a little ahead of itself.
  // The others share fetching the next panel evenly, so that the memory is always busy.
  constexpr int64_t kAhead = 4096;
  const int64_t ahead_end = !fetched || tiles.count == 1 ? item.first + 1 : item.first;
  const int64_t sharing = std::max<int64_t>(1, item.last - ahead_end);
  HWY_ALIGN float tile[kMaxRows * kPanel];
  for (int64_t t = item.first; t < item.last; ++t) {
    WeightPanel panel{data, weight.PaddedK(), weight.group_size, data, 0};
    if (t < ahead_end) {
      panel.fetch = data + kAhead;
      panel.fetch_step = kStepBytes;
    } else if (next_data != nullptr) {
      panel.fetch = next_data + panel_bytes * (t - ahead_end) / sharing;
      panel.fetch_step = (kStepBytes + sharing - 1) / sharing;
    }
    const int64_t row = tiles.Begin(t), rows = tiles.Begin(t + 1) - row;
    const InputTile input{quantized.codes + row * units, quantized.scales + row * groups,
                          quantized.sums + row * groups};
    ChooseTile(weight, rows)(input, panel, tile);
    if (task.args.result == LinearResult::kPanelMaxima) {
      StorePanelMaxima(task.args, item.panel, row, rows, tile);
    } else if (task.args.out_dtype == task.args.dtype) {
      StorePanelTile<T, T>(task.args, item.panel, row, rows, tile);
    } else {
      StorePanelTile<T, float>(task.args, item.panel, row, rows, tile);
    }
  }
}

void QuantizedLinearPackInput(const QuantizedLinearTask& task, const QuantizedInput& quantized,
                              int64_t first_row, int64_t end_row) {
  VLLM_FOR_DTYPE(task.args.dtype, T, QuantizeRows<T>(task, quantized, first_row, end_row));
}

void QuantizedLinearRun(QuantizedLinearTask& task, const QuantizedInput& quantized) {
  VLLM_FOR_DTYPE(task.args.dtype, T, {
    bool fetched = false;
    RunItems(task.work, kMaxRows, [&](const LinearItem& item, int64_t next) {
      RunQuantizedItem<T>(task, quantized, item, fetched, next);
      fetched = true;
    });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(QuantizedLinearPackInput);
HWY_EXPORT(QuantizedLinearRun);

namespace {

// Bounds the quantised copy of the input.
constexpr int64_t kMaxPackedBytes = int64_t{16} << 20;
constexpr int64_t kBlockBytes = int64_t{512} << 10;
// Input elements up to which every thread quantises all of the input for itself (linear.cpp).
constexpr int64_t kOwnPack = 65536;

QuantizedInput InputMemory(const QuantizedLinearArgs& args) {
  thread_local Scratch scratch;
  const int64_t units = args.weight.PaddedK() / 4, groups = args.weight.Groups();
  int32_t* codes = scratch.Get<int32_t>(static_cast<size_t>(args.m * (units + 2 * groups)));
  float* scales = reinterpret_cast<float*>(codes + args.m * units);
  return {codes, scales, reinterpret_cast<int32_t*>(scales + args.m * groups)};
}

void RunRows(const QuantizedLinearArgs& args) {
  const auto pack = VLLM_DISPATCH(QuantizedLinearPackInput);
  const auto run = VLLM_DISPATCH(QuantizedLinearRun);
  const int64_t m = args.m, row_bytes = args.weight.PaddedK();
  const int64_t panels = PanelCount(args.weight.n, args.weight.order);
  const int64_t work = panels * args.weight.PanelBytes() / 8 * std::min<int64_t>(m, 8);
  const int threads = static_cast<int>(
      std::clamp<int64_t>(std::min<int64_t>(work / kMinWorkPerThread, panels), 1, MaxThreads()));
  QuantizedLinearTask task{args,
                           {m, panels, std::max<int64_t>(48, kBlockBytes / row_bytes), threads}};
  const auto run_alone = [&] {
    const QuantizedInput quantized = InputMemory(args);
    pack(task, quantized, 0, m);
    run(task, quantized);
  };
  if (threads == 1) return run_alone();
  if (m * row_bytes <= kOwnPack) {
    return RunParallel(threads, [&](const Worker&) { run_alone(); });
  }
  const QuantizedInput quantized = InputMemory(args);
  RunParallel(threads, [&](const Worker& worker) {
    pack(task, quantized, m * worker.index / worker.count, m * (worker.index + 1) / worker.count);
    worker.Barrier();
    run(task, quantized);
  });
}

}  // namespace

void QuantizedLinear(const QuantizedLinearArgs& args) {
  if (args.m == 0 || args.weight.n == 0) return;
  const int64_t max_rows = std::max<int64_t>(kMaxPackedBytes / args.weight.PaddedK(), 48);
  for (int64_t row = 0; row < args.m; row += max_rows) {
    QuantizedLinearArgs part = args;
    part.m = std::min(max_rows, args.m - row);
    part.input = static_cast<const char*>(args.input) +
                 row * args.input_stride * static_cast<int64_t>(ElementSize(args.dtype));
    part.out = static_cast<char*>(args.out) +
               row * args.out_stride * static_cast<int64_t>(ElementSize(args.out_dtype));
    RunRows(part);
  }
}

}  // namespace vllm
#endif  // HWY_ONCE
