#include "device/grouped_mm.h"

namespace vllm::device {
namespace {

constexpr int kStepsOfBlock = kScaleBlock / kStepBytes;

// The product of a_scales[row] and b's scale for a block of k, for each row of this lane.
template <typename S>
struct TileScales {
  const float* a;
  int64_t a_row_stride;
  int64_t a_block_stride;
  const float* b;
  int64_t b_block_stride;
  int64_t rows;
  float values[S::kRowTiles * 2];

  VLLM_DEVICE void Load(int block) {
    const float of_b = b[block * b_block_stride];
    VLLM_UNROLL()
    for (int i = 0; i < S::kRowTiles * 2; ++i) {
      const int row = MmTile<Fp8E4M3, S>::FirstRow() + i * 8 + MmaLane() / 4;
      values[i] = row < rows ? a[row * a_row_stride + block * a_block_stride] * of_b : 0.0f;
    }
  }
};

template <typename S>
__global__ void __launch_bounds__(S::kThreads) BlockScaledMmKernel(BlockScaledMm p) {
  using Tile = MmTile<Fp8E4M3, S>;
  static_assert(kScaleBlock % S::kColumns == 0, "a tile's columns share a scale");
  VLLM_DYNAMIC_SHARED(shared);
  const GroupTile at = FindGroupTile<S>(p);
  if (at.rows <= 0) return;
  const Tile tile = TileOfGroup<Fp8E4M3, S>(p, at, shared);
  TileScales<S> scales{
      p.a_scales.data + at.group * p.a_scales.group_stride + at.origin.row * p.a_scales.row_stride,
      p.a_scales.row_stride,
      p.a_scales.block_stride,
      p.b_scales.data + at.group * p.b_scales.group_stride +
          at.origin.column / kScaleBlock * p.b_scales.row_stride,
      p.b_scales.block_stride,
      at.rows,
      {}};
  float total[S::kRowTiles][S::kColumnTiles][4] = {};
  typename Tile::Sums sums{};
  const int last = static_cast<int>((p.k + kStepBytes - 1) / kStepBytes) - 1;
  const auto before = [&](int step) {
    if (step % kStepsOfBlock == 0) scales.Load(step / kStepsOfBlock);
  };
  const auto after = [&](int step) {
    if (step % kStepsOfBlock != kStepsOfBlock - 1 && step != last) return;
    VLLM_UNROLL()
    for (int i = 0; i < S::kRowTiles; ++i) {
      VLLM_UNROLL()
      for (int j = 0; j < S::kColumnTiles; ++j) {
        VLLM_UNROLL()
        for (int v = 0; v < 4; ++v) {
          total[i][j][v] += sums[i][j].values[v] * scales.values[i * 2 + v / 2];
          sums[i][j].values[v] = 0.0f;
        }
      }
    }
  };
  tile.Run(sums, before, after);
  tile.ForEachPair([&](int row, int column, int i, int j, int v) {
    StorePair(p.out, {at.group, at.origin.row + row, at.origin.column + column}, total[i][j][v],
              total[i][j][v + 1]);
  });
}

}  // namespace

void RunBlockScaledMm(const BlockScaledMm& p) {
  LaunchGrouped(p, [](auto tag) { return BlockScaledMmKernel<typename decltype(tag)::type>; });
}

}  // namespace vllm::device
