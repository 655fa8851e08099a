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
