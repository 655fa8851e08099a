#include "device/scaled_mm.h"

#include "device/scaled_mm_tile.h"

namespace vllm::device {
namespace {

template <typename Q, typename S>
__global__ void __launch_bounds__(S::kThreads, 512 / S::kThreads) ScaledMmKernel(ScaledMm p) {
  VLLM_DYNAMIC_SHARED(shared);
  const TileOrigin origin = OriginOf<S>(blockIdx.x, p.m, p.n);
  const MmTile<Q, S> tile{shared,
                          {p.a + origin.row * p.a_stride, p.a_stride, p.m - origin.row},
                          {p.b + origin.column * p.b_stride, p.b_stride, p.n - origin.column},
                          p.k};
  typename MmTile<Q, S>::Sums sums{};
  const auto nothing = [](int) {};
  tile.Run(sums, nothing, nothing);
  StoreScaled<Q>(p, tile, origin, sums);
}

template <typename Q>
void LaunchScaledMm(const ScaledMm& p) {
  DispatchMmShape(p.m, [&](auto tag) {
    using S = typename decltype(tag)::type;
    Launch({p.op, MmTiles<S>(p.m, p.n), 1, 1, S::kThreads, S::kSharedBytes}, p.stream,
           ScaledMmKernel<Q, S>, p);
  });
}

}  // namespace

void RunScaledMm(const ScaledMm& p) {
  if (p.type == Type::kInt8) return LaunchScaledMm<int8_t>(p);
  if (p.type == Type::kFp8E4M3) return LaunchScaledMm<Fp8E4M3>(p);
  FailType(p.op);
}

}  // namespace vllm::device
