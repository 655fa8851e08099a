// torch.ops._flashmla_C, by the schema of vLLM's fork of FlashMLA.
#include <torch/csrc/stable/ops.h>

#include <optional>
#include <tuple>

#include "bindings/device/attention.h"
#include "device/join_splits.h"
#include "flashmla/decode.h"

namespace vllm {
namespace {

using OptionalTensor = std::optional<Tensor>;

constexpr int kMaxSplits = 64;
constexpr int64_t kKeysOfSplit = 64;  // at least, about

device::MlaDecode Arguments(const DeviceCall& call, const TensorView& q, const TensorView& cache,
                            const TensorView& lens, const TensorView& table) {
  CheckDim(q, 4);
  if (!q.Is(ScalarType::BFloat16)) CheckType(q, ScalarType::Half);
  CheckVectors(q);
  const int64_t seqs = q.Size(0), width = q.Size(3);
  if (width % 16 != 0 || width < device::kMlaRank || width > device::kMlaWidth) {
    Fail(q, "has heads of " + std::to_string(width) +
                " elements, expected a multiple of 16 from 512 to 576");
  }
  CheckSameType(cache, q);
  CheckShape(cache, {-1, -1, 1, width}, "[blocks, block_size, 1, width of the query's heads]");
  CheckHasSlots(cache);
  CheckVectors(cache);
  CheckType(table, ScalarType::Int);
  CheckShape(table, {seqs, -1}, "[seqs, blocks]");
  CheckLastContiguous(table);
  device::MlaDecode a{};
  a.op = call.Op();
  a.query = q.data;
  a.cache = cache.data;
  a.block_table = table.Data<int32_t>();
  a.seq_lens = Ints(lens, seqs, "[seqs]");
  a.query_seq_stride = q.Stride(0);
  a.query_token_stride = q.Stride(1);
  a.query_head_stride = q.Stride(2);
  a.block_stride = cache.Stride(0);
  a.slot_stride = cache.Stride(1);
  a.table_stride = table.Stride(0);
  a.max_blocks = table.Size(1);
  a.num_blocks = cache.Size(0);
  a.seqs = seqs;
  a.tokens = static_cast<int>(q.Size(1));
  a.heads = static_cast<int>(q.Size(2));
  a.width = static_cast<int>(width);
  a.block_size = static_cast<int>(cache.Size(1));
  a.type = DeviceFloatType(q);
  a.stream = call.Stream();
  return a;
}

void RunSplit(const DeviceCall& call, const Tensor& q, device::MlaDecode a) {
  const int64_t tokens = a.seqs * a.tokens;
  const Tensor out =
      torch::stable::new_empty(q, {a.splits, a.heads, tokens, device::kMlaRank}, ScalarType::Float);
  const Tensor lse = torch::stable::new_empty(q, {a.splits, a.heads, tokens}, ScalarType::Float);
  a.partial_out = call.View("partial output", out).Data<float>();
  a.partial_lse = call.View("partial lse", lse).Data<float>();
  device::RunMlaDecode(a);
  const int64_t rank = device::kMlaRank;
  device::JoinSplits({a.op, a.partial_out, a.partial_lse, a.out, a.heads * rank, rank, a.lse,
                      a.heads, 1, tokens, nullptr, a.heads, device::kMlaRank, a.splits, a.type,
                      a.stream});
}

// Output [seqs, tokens, heads, 512] and log-sum-exp [seqs, heads, tokens] of f32. How keys are
// split follows from shapes, so that there is no plan: what is given for one is handed back.
std::tuple<Tensor, Tensor, OptionalTensor, OptionalTensor> dense_decode_fwd(
    const Tensor& q, const Tensor& kcache, int64_t head_size_v, const Tensor& seqlens_k,
    const Tensor& block_table, double softmax_scale, bool is_causal,
    const OptionalTensor& tile_scheduler_metadata, const OptionalTensor& num_splits,
    const OptionalTensor& out_) {
  const DeviceCall call("dense_decode_fwd", q);
  if (head_size_v != device::kMlaRank) {
    call.Fail("head_size_v is " + std::to_string(head_size_v) + ", expected 512");
  }
  const TensorView query = call.View("q", q);
  device::MlaDecode a =
      Arguments(call, query, call.View("kcache", kcache), call.View("seqlens_k", seqlens_k),
                call.View("block_table", block_table));
  const Tensor out =
      out_ ? *out_
           : torch::stable::new_empty(q, {a.seqs, a.tokens, a.heads, int64_t{device::kMlaRank}});
  const Tensor lse = torch::stable::new_empty(q, {a.seqs, a.tokens, a.heads}, ScalarType::Float);
  const TensorView result = call.View("out_", out);
  CheckSameType(result, query);
  CheckShape(result, {a.seqs, a.tokens, a.heads, device::kMlaRank}, "[seqs, tokens, heads, 512]");
  CheckContiguous(result);
  a.out = result.data;
  a.lse = call.View("lse", lse).Data<float>();
  a.causal = is_causal;
  a.scale = static_cast<float>(softmax_scale);
  if (result.Numel() > 0) {
    const int64_t blocks = (a.tokens * a.heads + device::kMlaRows - 1) / device::kMlaRows * a.seqs;
    a.splits = device::SplitsFor(blocks, a.max_blocks * a.block_size / kKeysOfSplit, kMaxSplits);
    if (a.splits > 1) {
      RunSplit(call, q, a);
    } else {
      device::RunMlaDecode(a);
    }
  }
  return {out, torch::stable::transpose(lse, 1, 2), tile_scheduler_metadata, num_splits};
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_flashmla_C, m) {
  m.def(
      "dense_decode_fwd(Tensor q, Tensor kcache, int head_size_v, Tensor seqlens_k, "
      "Tensor block_table, float softmax_scale, bool is_causal, "
      "Tensor(a)? tile_scheduler_metadata, Tensor(b)? num_splits, Tensor(c!)? out_) -> "
      "(Tensor(c!), Tensor, Tensor(a)?, Tensor(b)?)");
}

VLLM_DEVICE_KERNELS(_flashmla_C, m) { m.impl("dense_decode_fwd", TORCH_BOX(&dense_decode_fwd)); }

}  // namespace vllm
