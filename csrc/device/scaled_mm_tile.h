// One tile of a product of matrices of bytes, by one block of threads: k goes by in steps of 64
// bytes through a ring of stages in shared memory, filled while earlier ones are multiplied.
#pragma once

#include "device/async_copy.h"
#include "device/dispatch.h"
#include "device/mma_bytes.h"
#include "device/scaled_mm.h"

namespace vllm::device {

#if VLLM_KERNELS

constexpr int kStepBytes = 64;  // of k
constexpr int kChunkBytes = 16;
constexpr int kStepChunks = kStepBytes / kChunkBytes;

// Groups of 32 lanes share the tile out in rows and columns.
template <int kTileRows, int kTileColumns, int kTileStages, int kRowGroups, int kTileColumnGroups>
struct MmShape {
  static constexpr int kRows = kTileRows;
  static constexpr int kColumns = kTileColumns;
  static constexpr int kStages = kTileStages;
  static constexpr int kColumnGroups = kTileColumnGroups;
  static constexpr int kThreads = kRowGroups * kColumnGroups * kMmaLanes;
  static constexpr int kGroupRows = kRows / kRowGroups;
  static constexpr int kGroupColumns = kColumns / kColumnGroups;
  static constexpr int kRowTiles = kGroupRows / 16;
  static constexpr int kColumnTiles = kGroupColumns / 8;
  static constexpr int kStageBytes = (kRows + kColumns) * kStepBytes;
  // At most 48 KiB: what every device gives to a block.
  static constexpr size_t kSharedBytes = size_t{kStages} * kStageBytes;
  static_assert(kColumnTiles % 2 == 0 && kSharedBytes <= 48 * 1024);
};

using SmallMm = MmShape<16, 64, 8, 1, 4>;
using MediumMm = MmShape<64, 64, 6, 2, 2>;
using LargeMm = MmShape<128, 64, 4, 4, 2>;

template <typename F>
void DispatchMmShape(int64_t rows, F&& f) {
  if (rows <= SmallMm::kRows) return f(Tag<SmallMm>{});
  if (rows <= MediumMm::kRows) return f(Tag<MediumMm>{});
  f(Tag<LargeMm>{});
}

template <typename S>
int64_t MmTiles(int64_t m, int64_t n) {
  return CeilDiv(m, S::kRows) * CeilDiv(n, S::kColumns);
}

struct TileOrigin {
  int64_t row;
  int64_t column;
};

// Tiles go by in bands of 8 of their rows, column by column: those that run at one time share rows
// of a and of b in the second-level cache.
template <typename S>
VLLM_DEVICE TileOrigin OriginOf(int64_t index, int64_t m, int64_t n) {
  constexpr int64_t kBand = 8;
  const int64_t row_tiles = (m + S::kRows - 1) / S::kRows;
  const int64_t columns = (n + S::kColumns - 1) / S::kColumns;
  const int64_t first = index / (kBand * columns) * kBand;
  const int64_t rows = row_tiles - first < kBand ? row_tiles - first : kBand;
  const int64_t place = index - first * columns;
  return {(first + place % rows) * S::kRows, place / rows * S::kColumns};
}

// Where 16 bytes of a row lie in a stage. Rows are 64 bytes: chunks trade places so that 8 rows'
// chunks of one number lie in all banks.
VLLM_DEVICE int StagePlace(int row, int chunk) {
  return row * kStepBytes + (chunk ^ (row / 2 % kStepChunks)) * kChunkBytes;
}

// Rows of a matrix from the tile's first one on.
struct ByteRows {
  const uint8_t* data;
  int64_t stride;
  int64_t count;

  // The bytes from `begin` of k, kStepBytes of each of `rows` rows, by all threads; zeros outside.
  template <int kThreads>
  VLLM_DEVICE void Copy(uint8_t* to, int rows, int64_t begin, int64_t k) const {
    for (int i = threadIdx.x; i < rows * kStepChunks; i += kThreads) {
      const int row = i / kStepChunks, chunk = i % kStepChunks;
      const int64_t at = begin + chunk * kChunkBytes;
      uint8_t* place = to + StagePlace(row, chunk);
      if (row < count && at < k) {
        CopyToShared(place, data + row * stride + at);
      } else {
        StoreVector(place, Vector<uint8_t, kChunkBytes>{});
      }
    }
  }

  // The words of two neighbouring tiles of 8 columns, of the chunks `chunk` and the one after.
  static VLLM_DEVICE void Load(uint32_t (&words)[4], const uint8_t* stage, int column, int chunk) {
    LoadByteMatrices(words, [&](int row) {
      return stage + StagePlace(column + row / 16 * 8 + row % 8, chunk + row / 8 % 2);
    });
  }
};

// `Columns` is how b lies in memory: ByteRows, or another type with its functions.
template <typename Q, typename S, typename Columns = ByteRows>
struct MmTile {
  using Sums = ByteSums<Q>[S::kRowTiles][S::kColumnTiles];

  uint8_t* shared;
  ByteRows a;
  Columns b;
  int64_t k;  // bytes of a's rows

  // Of this group of lanes.
  static VLLM_DEVICE int FirstRow() {
    return static_cast<int>(threadIdx.x) / kMmaLanes / S::kColumnGroups * S::kGroupRows;
  }
  static VLLM_DEVICE int FirstColumn() {
    return static_cast<int>(threadIdx.x) / kMmaLanes % S::kColumnGroups * S::kGroupColumns;
  }

  VLLM_DEVICE uint8_t* StageOf(int step) const {
    return shared + step % S::kStages * S::kStageBytes;
  }

  // One batch of copies, empty past the last step.
  VLLM_DEVICE void Fetch(int step, int steps) const {
    if (step < steps) {
      const int64_t begin = int64_t{step} * kStepBytes;
      a.template Copy<S::kThreads>(StageOf(step), S::kRows, begin, k);
      b.template Copy<S::kThreads>(StageOf(step) + S::kRows * kStepBytes, S::kColumns, begin, k);
    }
    CommitCopies();
  }

  VLLM_DEVICE void Multiply(int step, Sums& sums) const {
    const uint8_t* rows = StageOf(step);
    const uint8_t* columns = rows + S::kRows * kStepBytes;
    VLLM_UNROLL()
    for (int chunk = 0; chunk < kStepChunks; chunk += 2) {
      BytesA left[S::kRowTiles];
      VLLM_UNROLL()
      for (int i = 0; i < S::kRowTiles; ++i) {
        LoadByteMatrices(left[i].words, [&](int row) {
          return rows + StagePlace(FirstRow() + i * 16 + row % 16, chunk + row / 16);
        });
      }
      VLLM_UNROLL()
      for (int j = 0; j < S::kColumnTiles; j += 2) {
        uint32_t words[4];
        Columns::Load(words, columns, FirstColumn() + j * 8, chunk);
        VLLM_UNROLL()
        for (int i = 0; i < S::kRowTiles; ++i) {
          MmaBytes(sums[i][j], left[i], BytesB{{words[0], words[1]}});
          MmaBytes(sums[i][j + 1], left[i], BytesB{{words[2], words[3]}});
        }
      }
    }
  }

  // before(step) and after(step) frame each step's products.
  template <typename Before, typename After>
  VLLM_DEVICE void Run(Sums& sums, const Before& before, const After& after) const {
    const int steps = static_cast<int>((k + kStepBytes - 1) / kStepBytes);
    for (int step = 0; step < S::kStages - 1; ++step) Fetch(step, steps);
    for (int step = 0; step < steps; ++step) {
      WaitForCopies<S::kStages - 2>();
      __syncthreads();
      Fetch(step + S::kStages - 1, steps);
      before(step);
      Multiply(step, sums);
      after(step);
    }
  }

  // f(row, column, i, j, v): values v and v + 1 of sums[i][j] are those of `row`, `column` and the
  // next column, counted from the tile's first; only those that the product has.
  template <typename F>
  VLLM_DEVICE void ForEachPair(const F& f) const {
    VLLM_UNROLL()
    for (int j = 0; j < S::kColumnTiles; ++j) {
      const int column = FirstColumn() + j * 8 + MmaLane() % 4 * 2;
      if (column >= b.count) continue;
      VLLM_UNROLL()
      for (int i = 0; i < S::kRowTiles * 2; ++i) {
        const int row = FirstRow() + i * 8 + MmaLane() / 4;
        if (row < a.count) f(row, column, i / 2, j, i % 2 * 2);
      }
    }
  }
};

struct OutputPlace {
  int64_t group;
  int64_t row;
  int64_t column;
};

template <typename T>
VLLM_DEVICE void StorePairAs(const MmOutput& out, const OutputPlace& at, float x, float y) {
  if (out.addend) {
    const T* addend = static_cast<const T*>(out.addend) + at.row * out.addend_stride + at.column;
    x += ToFloat(addend[0]);
    y += ToFloat(addend[1]);
  }
  T* to = static_cast<T*>(out.data) + at.group * out.group_stride + at.row * out.stride + at.column;
  StoreVector(to, Vector<T, 2>{{FromFloat<T>(x), FromFloat<T>(y)}});
}

// At `at` and the next column.
VLLM_DEVICE void StorePair(const MmOutput& out, const OutputPlace& at, float x, float y) {
  if (out.type == Type::kBFloat16) return StorePairAs<BFloat16>(out, at, x, y);
  if (out.type == Type::kFloat16) return StorePairAs<Float16>(out, at, x, y);
  StorePairAs<float>(out, at, x, y);
}

// What ScaledMm makes of a tile's sums.
template <typename Q, typename Tile>
VLLM_DEVICE void StoreScaled(const ScaledMm& p, const Tile& tile, const TileOrigin& origin,
                             const typename Tile::Sums& sums) {
  tile.ForEachPair([&](int tile_row, int tile_column, int i, int j, int v) {
    const int64_t row = origin.row + tile_row, column = origin.column + tile_column;
    const float a_scale = p.a_scales[row * p.a_scale_step];
    float out[2];
    VLLM_UNROLL()
    for (int c = 0; c < 2; ++c) {
      auto sum = sums[i][j].values[v + c];
      if constexpr (std::is_same_v<Q, int8_t>) {
        if (p.adjust) sum -= (p.zero_points ? p.zero_points[row] : 1) * p.adjust[column + c];
      }
      out[c] = a_scale * p.b_scales[(column + c) * p.b_scale_step] * static_cast<float>(sum);
    }
    StorePair(p.out, {0, row, column}, out[0], out[1]);
  });
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
