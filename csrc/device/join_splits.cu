#include "device/join_splits.h"

#include "device/dispatch.h"

namespace vllm::device {
namespace {

// Grid: tokens, heads.
template <typename T>
__global__ void JoinKernel(JoinSplitsArgs a) {
  const int64_t token = blockIdx.x, head = blockIdx.y;
  if (a.used_tokens && token >= *a.used_tokens) return;
  const int64_t row = head * a.tokens + token, rows = a.heads * a.tokens;
  float largest = -INFINITY, sum = 0.0f;
  for (int s = 0; s < a.splits; ++s) largest = fmaxf(largest, a.partial_lse[s * rows + row]);
  const bool any = largest > -INFINITY;
  for (int s = 0; any && s < a.splits; ++s) sum += __expf(a.partial_lse[s * rows + row] - largest);
  T* out = static_cast<T*>(a.out) + token * a.out_token_stride + head * a.out_head_stride;
  for (int d = threadIdx.x; d < a.width; d += blockDim.x) {
    float x = 0.0f;
    for (int s = 0; any && s < a.splits; ++s) {
      const float weight = __expf(a.partial_lse[s * rows + row] - largest);
      if (weight > 0.0f) x += weight * a.partial_out[(s * rows + row) * a.width + d];
    }
    out[d] = FromFloat<T>(any ? x / sum : 0.0f);
  }
  if (a.lse && threadIdx.x == 0) {
    a.lse[head * a.lse_head_stride + token * a.lse_token_stride] =
        any ? largest + logf(sum) : -INFINITY;
  }
}

__global__ void PlanKernel(PlanSplitsArgs a) {
  const int64_t seq = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (seq >= a.seqs) return;
  const int64_t part = a.longest > a.limit ? (a.longest + a.limit - 1) / a.limit : 1;
  const int64_t wanted = (a.seq_lens[seq] + part - 1) / part;
  a.splits[seq] = static_cast<int32_t>(wanted < 1 ? 1 : wanted < a.limit ? wanted : a.limit);
}

}  // namespace

void JoinSplits(const JoinSplitsArgs& a) {
  DispatchFloat(a.op, a.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Launch({a.op, a.tokens, a.heads, 1, ThreadsFor(a.width, 256)}, a.stream, JoinKernel<T>, a);
  });
}

void PlanSplits(const PlanSplitsArgs& a) {
  Launch({a.op, CeilDiv(a.seqs, 128), 1, 1, 128}, a.stream, PlanKernel, a);
}

int SplitsFor(int64_t blocks, int64_t tiles, int limit) {
  const int64_t wanted = blocks > 0 ? Multiprocessors() / blocks : 1;
  const int64_t most = tiles < limit ? tiles : limit;
  const int64_t splits = wanted < most ? wanted : most;
  return splits < 1 ? 1 : static_cast<int>(splits);
}

}  // namespace vllm::device
