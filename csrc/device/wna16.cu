#include "device/wna16.h"

#include "device/dispatch.h"
#include "device/mma.h"
#include "device/wna16_codes.h"

namespace vllm::device {
namespace {

// The codes stay where they are in memory, and the product follows them: which element of k or n a
// lane calls its first is free, as long as activations and sums agree. With g = lane / 4 and
// t = lane % 4, a lane has rows 8t to 8t + 7 of every 32, and kColumns neighbouring columns from
// g * kColumns on. Pair i of a column are its rows i and i + 4, which one shift and mask extract
// from a word of 4-bit codes.
constexpr int kStep = 32;   // rows of k at a time
constexpr int kSteps = 4;   // that share a scale where groups are long enough
constexpr int kGroups = 8;  // of 32 lanes; each has its own part of k
constexpr int kThreads = kGroups * kMmaLanes;
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

// The codes of a lane's 8 rows and 4 columns, as streams of bits down the columns.
template <CodeType kType>
struct ColumnCodes {
  static constexpr int kBits = BitsOf(kType);
  static constexpr int kColumns = 4;
  static constexpr int kWords = kBits == 8 || kBits == 3 ? 2 : 1;
  // What is added to every code.
  static constexpr float kOffset = kBits == 4 ? 16.0f : 0.0f;
  Vector<uint32_t, 4> words[kWords];
  int shift;

  VLLM_DEVICE void Load(const QuantizedMatrix& w, int k, int n) {
    const int bit = k * kBits, row = bit / 32, rows = w.k * kBits / 32;
    shift = bit % 32;
    VLLM_UNROLL()
    for (int i = 0; i < kWords; ++i) {
      // The last of the rows has no row after it, and needs none.
      const int own = row + i < rows ? row + i : rows - 1;
      words[i] = LoadVector<4>(w.codes + int64_t{own} * w.n + n);
    }
  }

  template <typename T>
  VLLM_DEVICE uint32_t Pair(int column, int i) const {
    if constexpr (kBits == 4) return NibblePairs<T>::Get(words[0].lanes[column], i);
    uint32_t low, high;
    if constexpr (kBits == 8) {
      low = words[0].lanes[column] >> (8 * i) & 255u;
      high = words[1].lanes[column] >> (8 * i) & 255u;
    } else {
      uint64_t stream = words[0].lanes[column];
      if constexpr (kBits == 3) stream |= uint64_t{words[1].lanes[column]} << 32;
      const auto codes = static_cast<uint32_t>(stream >> shift);
      low = codes >> (kBits * i) & ((1u << kBits) - 1);
      high = codes >> (kBits * (i + 4)) & ((1u << kBits) - 1);
    }
    return PackPair<T>(CodeValue(kType, low), CodeValue(kType, high));
  }
};

// The codes of a lane's 8 rows and 8 columns, a word a row.
struct InterleavedCodes {
  static constexpr int kColumns = 8;
  static constexpr float kOffset = 16.0f;
  uint32_t words[8];

  VLLM_DEVICE void Load(const QuantizedMatrix& w, int k, int n) {
    const uint32_t* from = w.codes + int64_t{k} * (w.n / 8) + n / 8;
    VLLM_UNROLL()
    for (int i = 0; i < 8; ++i) words[i] = from[int64_t{i} * (w.n / 8)];
  }

  template <typename T>
  VLLM_DEVICE uint32_t Pair(int column, int i) const {
    const uint32_t word =
        column % 2 == 0 ? LowHalves(words[i], words[i + 4]) : HighHalves(words[i], words[i + 4]);
    return NibblePairs<T>::Get(word, column / 2);
  }
};

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
struct Tile {
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
  VLLM_DEVICE void Flush(const QuantizedMatrix& w, int group, int first) {
    constexpr int kShare = kColumns / 4;
    const int lane = MmaLane(), base = LaneId() - lane, t = lane % 4;
    float scales[kShare], shifts[kShare];
    VLLM_UNROLL()
    for (int i = 0; i < kShare; ++i) {
      const int column = first + lane * kShare + i, n = column < w.n ? column : 0;
      scales[i] = ScaleAt<T>(w, group, n);
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

// Grid: columns, tiles of rows.
template <typename T, typename Codes, int kTiles>
__global__ void __launch_bounds__(kThreads, 1) GemmKernel(QuantizedGemm a) {
  using Sums = Tile<T, Codes, kTiles>;
  constexpr int kColumns = Codes::kColumns, kWidth = 8 * kColumns;
  __shared__ float sums[kGroups][Sums::kSums][kMmaLanes];
  const QuantizedMatrix& w = a.weight;
  const int lane = MmaLane(), g = lane / 4, t = lane % 4;
  const int part = static_cast<int>(threadIdx.x) / kMmaLanes;
  const int first = static_cast<int>(blockIdx.x) * kWidth;
  const int own = first + g * kColumns < w.n ? first + g * kColumns : 0;  // columns that are loaded
  const int64_t first_row = int64_t{blockIdx.y} * kTiles * kMmaRows;
  const T* rows[kTiles][2];
  VLLM_UNROLL()
  for (int m = 0; m < kTiles * 2; ++m) {
    const int64_t row = first_row + m * 8 + g;
    rows[m / 2][m % 2] = row < a.m ? static_cast<const T*>(a.a) + row * a.a_stride : nullptr;
  }
  Sums tile{};
  // Parts take turns of kSteps steps, the same number of them, so that lanes of one wave stay
  // together.
  const auto row_of = [&](int step) {
    return ((step / kSteps * kGroups + part) * kSteps + step % kSteps) * kStep;
  };
  // A part's kSteps steps are of one group, or each step is. Rows beyond the last add zeros.
  const int flush_steps = w.group_size % (kSteps * kStep) == 0 ? kSteps : 1;
  const int steps = (w.k + kGroups * kSteps * kStep - 1) / (kGroups * kSteps * kStep) * kSteps;
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
  for (int i = threadIdx.x; i < Sums::kSums * kMmaLanes; i += kThreads) {
    const int r = i / kMmaLanes, from = i % kMmaLanes, c = r / 4 % kColumns;
    const int64_t row = first_row + r / 4 / kColumns * kMmaRows + r % 4 / 2 * 8 + from / 4;
    const int n = first + (from % 4 * 2 + r % 2) * kColumns + c;
    if (row >= a.m || n >= w.n) continue;
    float sum = 0.0f;
    for (int p = 0; p < kGroups; ++p) sum += sums[p][r][from];
    if (a.bias) {
      sum += ToFloat(static_cast<const T*>(a.bias)[PlaceOf(n, ColumnOrder::kMarlinChannels)]);
    }
    static_cast<T*>(a.out)[row * w.n + n] = FromFloat<T>(sum);
  }
}

// More rows of activations than a block takes read the weights again, from the cache.
constexpr int64_t kMostPasses = 4;

// Tiles of rows that a block takes at most; the rarer widths have one kernel only.
int TilesOf(const QuantizedMatrix& w) {
  return w.layout == CodeLayout::kColumns && BitsOf(w.code_type) >= 4 ? 2 : 1;
}

template <typename T, typename Codes, int kTiles>
void LaunchGemm(const QuantizedGemm& a) {
  Launch({a.op, CeilDiv(a.weight.n, 8 * Codes::kColumns), CeilDiv(a.m, kTiles * kMmaRows), 1,
          kThreads},
         a.stream, GemmKernel<T, Codes, kTiles>, a);
}

template <typename T, CodeType kType>
void DispatchRows(const QuantizedGemm& a) {
  if (TilesOf(a.weight) == 1 || a.m <= kMmaRows) return LaunchGemm<T, ColumnCodes<kType>, 1>(a);
  if constexpr (BitsOf(kType) >= 4) LaunchGemm<T, ColumnCodes<kType>, 2>(a);
}

template <typename T>
void DispatchCodes(const QuantizedGemm& a) {
  if (a.weight.layout == CodeLayout::kInterleavedRows) {
    return LaunchGemm<T, InterleavedCodes, 1>(a);
  }
  switch (a.weight.code_type) {
    case CodeType::kUint2:
      return DispatchRows<T, CodeType::kUint2>(a);
    case CodeType::kUint3:
      return DispatchRows<T, CodeType::kUint3>(a);
    case CodeType::kUint4:
      return DispatchRows<T, CodeType::kUint4>(a);
    case CodeType::kUint8:
      return DispatchRows<T, CodeType::kUint8>(a);
    case CodeType::kE4M3:
      return DispatchRows<T, CodeType::kE4M3>(a);
  }
}

}  // namespace

bool CanMultiplyQuantized(const QuantizedMatrix& w, int64_t m) {
  const int64_t rows = TilesOf(w) * kMmaRows;
  return !w.group_of && w.group_size % kStep == 0 && w.k % kStep == 0 && m <= kMostPasses * rows;
}

void MultiplyQuantized(const QuantizedGemm& a) {
  if (a.type == Type::kBFloat16) return DispatchCodes<BFloat16>(a);
  if (a.type == Type::kFloat16) return DispatchCodes<Float16>(a);
  FailType(a.op);
}

}  // namespace vllm::device
