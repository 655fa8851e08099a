// Products of 16-bit activations and codes of 2 to 8 bits, by blocks of kCodeThreads threads.
//
// The codes stay where they are in memory, and the product follows them: which element of k or n a
// lane calls its first is free, as long as activations and sums agree. With g = lane / 4 and
// t = lane % 4, a lane has rows 8t to 8t + 7 of every 32, and kColumns neighbouring columns from
// g * kColumns on. Pair i of a column are its rows i and i + 4, which one shift and mask extract
// from a word of 4-bit codes.
//
// A matrix of codes has k, n and group_size, and ScaleAt(Tag<T>{}, matrix, group, n) and
// ZeroAt(matrix, group, n) for it. `Codes` are those of one lane in a step: kColumns, kOffset (what
// Pair adds to every code), Load(matrix, first of its 8 rows, first column) and
// Pair<T>(column, i).
#pragma once

#include "device/dispatch.h"
#include "device/mma.h"

namespace vllm::device {

#if VLLM_KERNELS

constexpr int kCodeStep = 32;   // rows of k at a time
constexpr int kCodeSteps = 4;   // that share a scale where groups are long enough
constexpr int kCodeGroups = 8;  // of 32 lanes; each has its own part of k
constexpr int kCodeThreads = kCodeGroups * kMmaLanes;
constexpr int kMmaRows = 16;

// 16-bit floats of 16 + code, exact: codes become the highest bits of a mantissa.
template <typename T>
struct NibblePairs {
  static constexpr bool kIsBFloat = std::is_same_v<T, BFloat16>;
  static constexpr int kShift = kIsBFloat ? 3 : 6;
  static constexpr uint32_t kSixteen = kIsBFloat ? 0x41804180u : 0x4c004c00u;

  // The code at bit 4i in the low half, that at bit 16 + 4i in the high one.
  static VLLM_DEVICE uint32_t Get(uint32_t word, int i) {
    const int shift = kShift - 4 * i;
    const uint32_t moved = shift >= 0 ? word << shift : word >> -shift;
    return (moved & (0x000f000fu << kShift)) | kSixteen;
  }
};

VLLM_DEVICE uint32_t LowHalves(uint32_t a, uint32_t b) { return (a & 0xffffu) | b << 16; }
VLLM_DEVICE uint32_t HighHalves(uint32_t a, uint32_t b) { return a >> 16 | (b & 0xffff0000u); }

// Two fragments of activations: rows g and g + 8 of a tile, 8 columns in pairs i and i + 4.
struct Activations {
  FragmentA halves[2];

  template <typename T>
  VLLM_DEVICE void Load(const T* upper, const T* lower, int k) {
    const T* rows[2] = {upper, lower};
    VLLM_UNROLL()
    for (int r = 0; r < 2; ++r) {
      Vector<T, 8> row{};
      if (rows[r]) row = LoadVector<8>(rows[r] + k);
      uint32_t w[4];
      memcpy(w, &row, sizeof(w));
      halves[0].pairs[r] = LowHalves(w[0], w[2]);
      halves[0].pairs[2 + r] = HighHalves(w[0], w[2]);
      halves[1].pairs[r] = LowHalves(w[1], w[3]);
      halves[1].pairs[2 + r] = HighHalves(w[1], w[3]);
    }
  }
};

template <typename T, typename Codes, int kTiles>
struct CodeTile {
  static constexpr int kColumns = Codes::kColumns;
  static constexpr int kSums = kTiles * kColumns * 4;
  FragmentD total[kTiles][kColumns];  // scaled
  FragmentD part[kTiles][kColumns];   // of one group, of codes with the offset
  FragmentD row_sums[kTiles];         // of the activations that met them

  VLLM_DEVICE void ClearPart() {
    VLLM_UNROLL()
    for (int m = 0; m < kTiles; ++m) {
      row_sums[m] = FragmentD{};
      VLLM_UNROLL()
      for (int c = 0; c < kColumns; ++c) part[m][c] = FragmentD{};
    }
  }

  VLLM_DEVICE void Multiply(const Codes& codes, const Activations (&a)[kTiles]) {
    const uint32_t one = PackPair<T>(1.0f, 1.0f);
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      VLLM_UNROLL()
      for (int m = 0; m < kTiles; ++m) Mma<T>(row_sums[m], a[m].halves[half], {{one, one}});
      VLLM_UNROLL()
      for (int c = 0; c < kColumns; ++c) {
        const FragmentB b{
            {codes.template Pair<T>(c, 2 * half), codes.template Pair<T>(c, 2 * half + 1)}};
        VLLM_UNROLL()
        for (int m = 0; m < kTiles; ++m) Mma<T>(part[m][c], a[m].halves[half], b);
      }
    }
  }

  // Scales what the rows of one group have summed up: sum(a (code - zero)) = sum(a (code + offset))
  // - (offset + zero) sum(a). `first` is the tile's first column. Each lane reads its share of the
  // columns' scales and zeros.
  template <typename Matrix>
  VLLM_DEVICE void Flush(const Matrix& w, int group, int first) {
    constexpr int kShare = kColumns / 4;
    const int lane = MmaLane(), base = LaneId() - lane, t = lane % 4;
    float scales[kShare], shifts[kShare];
    VLLM_UNROLL()
    for (int i = 0; i < kShare; ++i) {
      const int column = first + lane * kShare + i, n = column < w.n ? column : 0;
      scales[i] = ScaleAt(Tag<T>{}, w, group, n);
      shifts[i] = Codes::kOffset + ZeroAt(w, group, n);
    }
    VLLM_UNROLL()
    for (int c = 0; c < kColumns; ++c) {
      VLLM_UNROLL()
      for (int side = 0; side < 2; ++side) {
        const int owner = base + ((2 * t + side) * kColumns + c) / kShare;
        const float scale = Shuffle(scales[c % kShare], owner);
        const float shift = Shuffle(shifts[c % kShare], owner);
        VLLM_UNROLL()
        for (int m = 0; m < kTiles; ++m) {
          VLLM_UNROLL()
          for (int i = side; i < 4; i += 2) {
            total[m][c].values[i] += scale * (part[m][c].values[i] - shift * row_sums[m].values[i]);
          }
        }
      }
    }
    ClearPart();
  }
};

// Calls store(row, column, sum) for the block's rows, of which a lane has row 16 m + 8 s + lane / 4
// as rows[m][s] (null: zeros), and its columns from `first` on that are inside of the matrix.
template <typename Codes, typename T, int kTiles, typename Matrix, typename Store>
VLLM_DEVICE void MultiplyCodes(const Matrix& w, const T* const (&rows)[kTiles][2], int first,
                               const Store& store) {
  using Sums = CodeTile<T, Codes, kTiles>;
  constexpr int kColumns = Codes::kColumns;
  __shared__ float sums[kCodeGroups][Sums::kSums][kMmaLanes];
  const int lane = MmaLane(), g = lane / 4, t = lane % 4;
  const int part = static_cast<int>(threadIdx.x) / kMmaLanes;
  const int own = first + g * kColumns < w.n ? first + g * kColumns : 0;  // columns that are loaded
  Sums tile{};
  // Parts take turns of kCodeSteps steps, the same number of them, so that lanes of one wave stay
  // together.
  const auto row_of = [&](int step) {
    return ((step / kCodeSteps * kCodeGroups + part) * kCodeSteps + step % kCodeSteps) * kCodeStep;
  };
  // A part's kCodeSteps steps are of one group, or each step is. Rows beyond the last add zeros.
  constexpr int kTurn = kCodeGroups * kCodeSteps * kCodeStep;
  const int flush_steps = w.group_size % (kCodeSteps * kCodeStep) == 0 ? kCodeSteps : 1;
  const int steps = (w.k + kTurn - 1) / kTurn * kCodeSteps;
  Codes codes;
  codes.Load(w, (row_of(0) < w.k ? row_of(0) : 0) + 8 * t, own);
  VLLM_UNROLL(1)
  for (int step = 0; step < steps; ++step) {
    const int k = row_of(step), next = row_of(step + 1);
    const bool inside = k < w.k;
    Codes following;
    following.Load(w, (next < w.k ? next : 0) + 8 * t, own);
    Activations x[kTiles];
    VLLM_UNROLL()
    for (int m = 0; m < kTiles; ++m) {
      x[m].Load(inside ? rows[m][0] : nullptr, inside ? rows[m][1] : nullptr, k + 8 * t);
    }
    tile.Multiply(codes, x);
    if ((step + 1) % flush_steps == 0) {
      const int row = row_of(step + 1 - flush_steps);
      tile.Flush(w, (row < w.k ? row : 0) / w.group_size, first);
    }
    codes = following;
  }
  VLLM_UNROLL()
  for (int i = 0; i < Sums::kSums; ++i) {
    sums[part][i][lane] = tile.total[i / 4 / kColumns][i / 4 % kColumns].values[i % 4];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < Sums::kSums * kMmaLanes; i += kCodeThreads) {
    const int r = i / kMmaLanes, from = i % kMmaLanes, c = r / 4 % kColumns;
    const int row = r / 4 / kColumns * kMmaRows + r % 4 / 2 * 8 + from / 4;
    const int n = first + (from % 4 * 2 + r % 2) * kColumns + c;
    if (n >= w.n) continue;
    float sum = 0.0f;
    for (int p = 0; p < kCodeGroups; ++p) sum += sums[p][r][from];
    store(row, n, sum);
  }
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
