#include "moe/wna16.h"

#include "device/dispatch.h"
#include "device/wna16_tile.h"

namespace vllm::device {
namespace {

// One expert's matrix.
template <int kBits>
struct ExpertMatrix {
  const uint8_t* codes;
  const void* scales;
  const uint8_t* zeros;
  int k;
  int n;
  int group_size;

  VLLM_DEVICE int Groups() const { return k / group_size; }
};

template <typename T, int kBits>
VLLM_DEVICE float ScaleAt(Tag<T>, const ExpertMatrix<kBits>& w, int group, int n) {
  return ToFloat(static_cast<const T*>(w.scales)[int64_t{n} * w.Groups() + group]);
}

template <int kBits>
VLLM_DEVICE float ZeroAt(const ExpertMatrix<kBits>& w, int group, int n) {
  if (!w.zeros) return 1 << (kBits - 1);
  constexpr int kCodes = 8 / kBits;  // a byte holds those of neighbouring columns
  const int byte = w.zeros[int64_t{n} / kCodes * w.Groups() + group];
  return static_cast<float>(byte >> (n % kCodes * kBits) & ((1 << kBits) - 1));
}

// Those of a lane's 8 rows and 4 columns.
template <int kBits>
struct ExpertCodes {
  static constexpr int kColumns = 4;
  static constexpr float kOffset = kBits == 4 ? 16.0f : 0.0f;
  Vector<uint32_t, kBits / 4> words[kColumns];

  VLLM_DEVICE void Load(const ExpertMatrix<kBits>& w, int k, int n) {
    VLLM_UNROLL()
    for (int c = 0; c < kColumns; ++c) {
      const int64_t column = n + c < w.n ? n + c : n;
      const uint8_t* from = w.codes + (column * w.k + k) * kBits / 8;
      words[c] = LoadVector<kBits / 4>(reinterpret_cast<const uint32_t*>(from));
    }
  }

  template <typename T>
  VLLM_DEVICE uint32_t Pair(int column, int i) const {
    if constexpr (kBits == 4) {
      return NibblePairs<T>::Get(words[column].lanes[0], i);
    } else {
      return PackPair<T>(static_cast<float>(words[column].lanes[0] >> (8 * i) & 255u),
                         static_cast<float>(words[column].lanes[1] >> (8 * i) & 255u));
    }
  }
};

// Grid: columns, blocks of choices and parts of them.
template <typename T, int kBits, int kTiles>
__global__ void __launch_bounds__(kCodeThreads, 1) ExpertsKernel(ExpertsGemm a, int parts) {
  using Codes = ExpertCodes<kBits>;
  const int64_t block = blockIdx.y / parts;
  const int first_row = static_cast<int>(blockIdx.y) % parts * kTiles * kMmaRows;
  const int expert = a.block_experts[block];
  if (block * a.block_size >= a.total[0] || expert < 0 || expert >= a.experts) return;
  // The choice of a row of this part; -1 where it has none.
  const auto choice_of = [&](int tile_row) -> int64_t {
    const int row = first_row + tile_row;
    if (row >= a.block_size) return -1;
    const int64_t choice = a.choices[block * a.block_size + row];
    return choice < a.tokens * a.top_k ? choice : -1;
  };
  const T* rows[kTiles][2];
  VLLM_UNROLL()
  for (int m = 0; m < kTiles * 2; ++m) {
    const int64_t choice = choice_of(m * 8 + MmaLane() / 4);
    rows[m / 2][m % 2] =
        choice < 0 ? nullptr : static_cast<const T*>(a.input) + choice / a.top_k * a.k;
  }
  const int64_t columns = int64_t{expert} * a.n, groups = a.k / a.group_size;
  const ExpertMatrix<kBits> w{a.codes + columns * a.k * kBits / 8,
                              static_cast<const T*>(a.scales) + columns * groups,
                              a.zeros ? a.zeros + columns * kBits / 8 * groups : nullptr,
                              a.k,
                              a.n,
                              a.group_size};
  const int first = static_cast<int>(blockIdx.x) * 8 * Codes::kColumns;
  MultiplyCodes<Codes>(w, rows, first, [&](int tile_row, int n, float sum) {
    const int64_t choice = choice_of(tile_row);
    if (choice < 0) return;
    if (a.topk_weights) sum *= a.topk_weights[choice];
    static_cast<T*>(a.output)[choice * a.n + n] = FromFloat<T>(sum);
  });
}

template <typename T, int kBits, int kTiles>
void LaunchExperts(const ExpertsGemm& a) {
  const auto parts = static_cast<int>(CeilDiv(a.block_size, kTiles * kMmaRows));
  Launch({a.op, CeilDiv(a.n, 8 * ExpertCodes<kBits>::kColumns), a.blocks * parts, 1, kCodeThreads},
         a.stream, ExpertsKernel<T, kBits, kTiles>, a, parts);
}

template <typename T>
void DispatchExperts(const ExpertsGemm& a) {
  const bool small = a.block_size <= kMmaRows;
  if (a.bits == 4) return small ? LaunchExperts<T, 4, 1>(a) : LaunchExperts<T, 4, 2>(a);
  return small ? LaunchExperts<T, 8, 1>(a) : LaunchExperts<T, 8, 2>(a);
}

}  // namespace

void MultiplyExperts(const ExpertsGemm& a) {
  ClearAsync(a.op, a.output, static_cast<size_t>(a.tokens * a.top_k * a.n) * 2, a.stream);
  if (a.blocks == 0) return;
  if (a.type == Type::kBFloat16) return DispatchExperts<BFloat16>(a);
  if (a.type == Type::kFloat16) return DispatchExperts<Float16>(a);
  FailType(a.op);
}

}  // namespace vllm::device
