#include "device/scaled_mm_tile.h"

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

// Grid: tiles of one product, groups.
template <typename S>
__global__ void __launch_bounds__(S::kThreads) BlockScaledMmKernel(BlockScaledMm p) {
  using Tile = MmTile<Fp8E4M3, S>;
  static_assert(kScaleBlock % S::kColumns == 0, "a tile's columns share a scale");
  VLLM_DYNAMIC_SHARED(shared);
  const TileOrigin origin = OriginOf<S>(blockIdx.x, p.m, p.n);
  int64_t group = blockIdx.y, rows = p.m;
  if (p.row_groups) group = p.row_groups[origin.row];
  if (p.group_rows && p.group_rows[group] < rows) rows = p.group_rows[group];
  if (group < 0 || group >= p.groups || origin.row >= rows) return;
  rows -= origin.row;
  const Tile tile{shared,
                  {p.a + group * p.a_group_stride + origin.row * p.a_stride, p.a_stride, rows},
                  {p.b + group * p.b_group_stride + origin.column * p.b_stride, p.b_stride,
                   p.n - origin.column},
                  p.k};
  TileScales<S> scales{
      p.a_scales.data + group * p.a_scales.group_stride + origin.row * p.a_scales.row_stride,
      p.a_scales.row_stride,
      p.a_scales.block_stride,
      p.b_scales.data + group * p.b_scales.group_stride +
          origin.column / kScaleBlock * p.b_scales.row_stride,
      p.b_scales.block_stride,
      rows,
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
    StorePair(p.out, {group, origin.row + row, origin.column + column}, total[i][j][v],
              total[i][j][v + 1]);
  });
}

}  // namespace

void RunBlockScaledMm(const BlockScaledMm& p) {
  // Rows of several groups in one matrix change groups at multiples of the largest tile's rows.
  static_assert(LargeMm::kRows == kScaleBlock);
  DispatchMmShape(p.expected_rows, [&](auto tag) {
    using S = typename decltype(tag)::type;
    Launch(
        {p.op, MmTiles<S>(p.m, p.n), p.row_groups ? 1 : p.groups, 1, S::kThreads, S::kSharedBytes},
        p.stream, BlockScaledMmKernel<S>, p);
  });
}

}  // namespace vllm::device
