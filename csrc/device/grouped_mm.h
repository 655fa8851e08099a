// Tiles of products of groups: which group a block of threads works for, and on which of its rows.
#pragma once

#include "device/scaled_mm_tile.h"

namespace vllm::device {

#if VLLM_KERNELS

struct GroupTile {
  int64_t group;
  TileOrigin origin;
  int64_t rows;  // from the tile's first one on; none: there is nothing to do
};

// Grid: tiles of one product, groups.
template <typename S>
VLLM_DEVICE GroupTile FindGroupTile(const GroupedMm& p) {
  GroupTile tile{int64_t{blockIdx.y}, OriginOf<S>(blockIdx.x, p.m, p.n), p.m};
  if (p.row_groups) tile.group = p.row_groups[tile.origin.row];
  if (p.group_rows && p.group_rows[tile.group] < p.m) tile.rows = p.group_rows[tile.group];
  tile.rows = tile.group < 0 || tile.group >= p.groups ? 0 : tile.rows - tile.origin.row;
  return tile;
}

template <typename Q, typename S>
VLLM_DEVICE MmTile<Q, S> TileOfGroup(const GroupedMm& p, const GroupTile& at, uint8_t* shared) {
  const uint8_t* a = p.a + at.group * p.a_group_stride + at.origin.row * p.a_stride;
  const uint8_t* b = p.b + at.group * p.b_group_stride + at.origin.column * p.b_stride;
  return {shared,
          {a, p.a_stride, at.rows},
          {b, p.b_stride, p.n - at.origin.column},
          p.k * static_cast<int64_t>(sizeof(Q))};
}

// kernel(Tag<S>) is the one for tiles of shape S.
template <typename Params, typename KernelOf>
void LaunchGrouped(const Params& p, const KernelOf& kernel) {
  // Rows of several groups in one matrix change groups at multiples of the largest tile's rows.
  static_assert(LargeMm::kRows == kScaleBlock);
  DispatchMmShape(p.expected_rows, [&](auto tag) {
    using S = typename decltype(tag)::type;
    Launch(
        {p.op, MmTiles<S>(p.m, p.n), p.row_groups ? 1 : p.groups, 1, S::kThreads, S::kSharedBytes},
        p.stream, kernel(tag), p);
  });
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
