#include "deepgemm/bf16_gemm.h"

#include "device/grouped_mm.h"

namespace vllm::device {
namespace {

template <typename S>
__global__ void __launch_bounds__(S::kThreads) Bf16GemmKernel(GroupedMm p) {
  VLLM_DYNAMIC_SHARED(shared);
  const GroupTile at = FindGroupTile<S>(p);
  if (at.rows <= 0) return;
  const auto tile = TileOfGroup<BFloat16, S>(p, at, shared);
  typename MmTile<BFloat16, S>::Sums sums{};
  const auto nothing = [](int) {};
  tile.Run(sums, nothing, nothing);
  tile.ForEachPair([&](int row, int column, int i, int j, int v) {
    StorePair(p.out, {at.group, at.origin.row + row, at.origin.column + column},
              sums[i][j].values[v], sums[i][j].values[v + 1]);
  });
}

}  // namespace

void RunBf16Gemm(const GroupedMm& p) {
  LaunchGrouped(p, [](auto tag) { return Bf16GemmKernel<typename decltype(tag)::type>; });
}

}  // namespace vllm::device
