#include "device/penalties.h"

#include "device/dispatch.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 256;

VLLM_DEVICE float Penalised(float logit, float penalty) {
  return logit > 0.0f ? logit / penalty : logit * penalty;
}

template <typename T>
VLLM_DEVICE float PenaltyOf(const RepetitionPenalties& a, int64_t row) {
  if (a.penalty_type == Type::kFloat32) return static_cast<const float*>(a.penalties)[row];
  return ToFloat(static_cast<const T*>(a.penalties)[row]);
}

// Grid: rows, chunks. Rows whose penalty is 1 are only looked at.
template <typename T, int kVector>
__global__ void RepetitionKernel(RepetitionPenalties a) {
  const int64_t row = blockIdx.x;
  const int64_t d = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kVector;
  const float penalty = PenaltyOf<T>(a, row);
  if (d >= a.vocab || penalty == 1.0f) return;
  const uint8_t* prompt = reinterpret_cast<const uint8_t*>(a.prompt_mask) + row * a.prompt_stride;
  const uint8_t* output = reinterpret_cast<const uint8_t*>(a.output_mask) + row * a.output_stride;
  const auto in_prompt = LoadVector<kVector>(prompt + d);
  const auto in_output = LoadVector<kVector>(output + d);
  bool any = false;
  VLLM_UNROLL()
  for (int j = 0; j < kVector; ++j) any |= (in_prompt.lanes[j] | in_output.lanes[j]) != 0;
  if (!any) return;
  T* logits = static_cast<T*>(a.logits) + row * a.row_stride + d;
  auto values = LoadVector<kVector>(logits);
  VLLM_UNROLL()
  for (int j = 0; j < kVector; ++j) {
    if ((in_prompt.lanes[j] | in_output.lanes[j]) == 0) continue;
    values.lanes[j] = FromFloat<T>(Penalised(ToFloat(values.lanes[j]), penalty));
  }
  StoreVector(logits, values);
}

// The row whose tokens include `token`.
VLLM_DEVICE int64_t RowOf(const SparsePenalties& a, int64_t token) {
  int64_t low = 0, high = a.rows - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (a.row_offsets[middle] <= token) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// A thread a token.
__global__ void SparseKernel(SparsePenalties a) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= a.tokens || i >= a.row_offsets[a.rows]) return;
  const int64_t row = RowOf(a, i), id = a.token_ids[i];
  if (id < 0 || id >= a.vocab) return;
  float& logit = a.logits[row * a.row_stride + id];
  const float count = static_cast<float>(a.counts[i]);
  float x = Penalised(logit, a.repetition[row]) - count * a.frequency[row];
  if (count > 0.0f) x -= a.presence[row];
  logit = x;
}

}  // namespace

void ApplyRepetitionPenalties(const RepetitionPenalties& a) {
  DispatchFloat(a.op, a.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kVector = kVectorOf<T>;
    const bool vectors = a.vocab % kVector == 0 && a.row_stride % kVector == 0 &&
                         a.prompt_stride % kVector == 0 && a.output_stride % kVector == 0 &&
                         IsAligned(a.logits, 16) && IsAligned(a.prompt_mask, kVector) &&
                         IsAligned(a.output_mask, kVector);
    const int64_t items = a.vocab / (vectors ? kVector : 1);
    Launch({a.op, a.rows, CeilDiv(items, kThreads), 1, kThreads}, a.stream,
           vectors ? RepetitionKernel<T, kVector> : RepetitionKernel<T, 1>, a);
  });
}

void ApplySparsePenalties(const SparsePenalties& a) {
  if (a.rows == 0) return;
  Launch({a.op, CeilDiv(a.tokens, kThreads), 1, 1, kThreads}, a.stream, SparseKernel, a);
}

}  // namespace vllm::device
