#include "device/wna16.h"

#include "device/dispatch.h"
#include "device/wna16_codes.h"
#include "device/wna16_tile.h"

namespace vllm::device {
namespace {

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

// Grid: columns, tiles of rows.
template <typename T, typename Codes, int kTiles>
__global__ void __launch_bounds__(kCodeThreads, 1) GemmKernel(QuantizedGemm a) {
  const int64_t first_row = int64_t{blockIdx.y} * kTiles * kMmaRows;
  const T* rows[kTiles][2];
  VLLM_UNROLL()
  for (int m = 0; m < kTiles * 2; ++m) {
    const int64_t row = first_row + m * 8 + MmaLane() / 4;
    rows[m / 2][m % 2] = row < a.m ? static_cast<const T*>(a.a) + row * a.a_stride : nullptr;
  }
  const int first = static_cast<int>(blockIdx.x) * 8 * Codes::kColumns;
  MultiplyCodes<Codes>(a.weight, rows, first, [&](int tile_row, int n, float sum) {
    const int64_t row = first_row + tile_row;
    if (row >= a.m) return;
    if (a.bias) {
      sum += ToFloat(static_cast<const T*>(a.bias)[PlaceOf(n, ColumnOrder::kMarlinChannels)]);
    }
    static_cast<T*>(a.out)[row * a.weight.n + n] = FromFloat<T>(sum);
  });
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
          kCodeThreads},
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
  return !w.group_of && w.group_size % kCodeStep == 0 && w.k % kCodeStep == 0 &&
         m <= kMostPasses * rows;
}

void MultiplyQuantized(const QuantizedGemm& a) {
  if (a.type == Type::kBFloat16) return DispatchCodes<BFloat16>(a);
  if (a.type == Type::kFloat16) return DispatchCodes<Float16>(a);
  FailType(a.op);
}

}  // namespace vllm::device
