#include "rocm/skinny_gemm.h"

#include "device/dispatch.h"
#include "device/reduce.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 256;
constexpr int kWeightRows = 4;  // of a wave: as many reads under way, as many uses of each of b's

// Grid: rows of the weight by the waves of a block, tokens.
template <typename T, typename Out, int kTokens>
__global__ void __launch_bounds__(kThreads) SkinnyGemmKernel(SkinnyGemm p) {
  constexpr int kVector = 16 / sizeof(T);
  const int64_t first_row = (int64_t{blockIdx.x} * NumWaves() + WaveId()) * kWeightRows;
  const int64_t first_token = int64_t{blockIdx.y} * kTokens;
  if (first_row >= p.m) return;
  // Rows and tokens past the end repeat the last one, and are not stored.
  const T* weights[kWeightRows];
  VLLM_UNROLL()
  for (int r = 0; r < kWeightRows; ++r) {
    const int64_t row = first_row + r < p.m ? first_row + r : p.m - 1;
    weights[r] = static_cast<const T*>(p.a) + row * p.a_stride;
  }
  const T* inputs[kTokens];
  VLLM_UNROLL()
  for (int t = 0; t < kTokens; ++t) {
    const int64_t token = first_token + t < p.n ? first_token + t : p.n - 1;
    inputs[t] = static_cast<const T*>(p.b) + token * p.b_stride;
  }
  float sums[kTokens][kWeightRows] = {};
  for (int64_t at = int64_t{LaneId()} * kVector; at < p.k; at += int64_t{WaveSize()} * kVector) {
    Vector<T, kVector> w[kWeightRows];
    VLLM_UNROLL()
    for (int r = 0; r < kWeightRows; ++r) w[r] = LoadVector<kVector>(weights[r] + at);
    VLLM_UNROLL()
    for (int t = 0; t < kTokens; ++t) {
      const auto x = Widen(LoadVector<kVector>(inputs[t] + at));
      VLLM_UNROLL()
      for (int r = 0; r < kWeightRows; ++r) {
        const auto wide = Widen(w[r]);
        VLLM_UNROLL()
        for (int j = 0; j < kVector; ++j) sums[t][r] += wide.lanes[j] * x.lanes[j];
      }
    }
  }
  const float scale = p.a_scale ? *p.a_scale * *p.b_scale : 1.0f;
  VLLM_UNROLL()
  for (int t = 0; t < kTokens; ++t) {
    VLLM_UNROLL()
    for (int r = 0; r < kWeightRows; ++r) {
      const float sum = ReduceWave<Sum>(sums[t][r]);
      const int64_t row = first_row + r, token = first_token + t;
      if (LaneId() != 0 || row >= p.m || token >= p.n) continue;
      const float bias = p.bias ? ToFloat(static_cast<const Out*>(p.bias)[row]) : 0.0f;
      static_cast<Out*>(p.out)[token * p.m + row] = FromFloat<Out>(sum * scale + bias);
    }
  }
}

template <typename T, typename Out>
void LaunchSkinnyGemm(const SkinnyGemm& p) {
  // A block's waves are 4 or 8, which the host does not know: with 8, half the blocks have no rows.
  const int64_t blocks = CeilDiv(p.m, kThreads / 64 * kWeightRows);
  const auto launch = [&](auto kernel, int64_t tokens) {
    Launch({p.op, blocks, CeilDiv(p.n, tokens), 1, kThreads}, p.stream, kernel, p);
  };
  p.n == 1 ? launch(SkinnyGemmKernel<T, Out, 1>, 1) : launch(SkinnyGemmKernel<T, Out, 4>, 4);
}

}  // namespace

void RunSkinnyGemm(const SkinnyGemm& p) {
  const bool bf16 = p.out_type == Type::kBFloat16;
  if (p.type == Type::kFp8E4M3) {
    return bf16 ? LaunchSkinnyGemm<Fp8E4M3, BFloat16>(p) : LaunchSkinnyGemm<Fp8E4M3, Float16>(p);
  }
  if (p.type != p.out_type || (!bf16 && p.type != Type::kFloat16)) FailType(p.op);
  bf16 ? LaunchSkinnyGemm<BFloat16, BFloat16>(p) : LaunchSkinnyGemm<Float16, Float16>(p);
}

}  // namespace vllm::device
