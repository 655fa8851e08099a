// torch.ops._vllm_fa3_C, by the schema of vLLM's fork of flash-attention.
#include <torch/csrc/stable/ops.h>

#include "device/join_splits.h"
#include "flash_attn/varlen.h"

namespace vllm {
namespace {

using OptionalTensor = std::optional<Tensor>;

// Last, two empty tensors: what splits found is not kept.
std::vector<Tensor> fwd(const Tensor& q, const Tensor& k, const Tensor& v,
                        const OptionalTensor& k_new, const OptionalTensor& v_new,
                        const OptionalTensor& q_v, const OptionalTensor& out,
                        const OptionalTensor& cu_seqlens_q, const OptionalTensor& cu_seqlens_k,
                        const OptionalTensor& cu_seqlens_k_new, const OptionalTensor& seqused_q,
                        const OptionalTensor& seqused_k, std::optional<int64_t> max_seqlen_q,
                        std::optional<int64_t> max_seqlen_k, const OptionalTensor& page_table,
                        const OptionalTensor& kv_batch_idx, const OptionalTensor& leftpad_k,
                        const OptionalTensor& rotary_cos, const OptionalTensor& rotary_sin,
                        const OptionalTensor& seqlens_rotary, const OptionalTensor& q_descale,
                        const OptionalTensor& k_descale, const OptionalTensor& v_descale,
                        double softmax_scale, bool is_causal, int64_t window_size_left,
                        int64_t window_size_right, double softcap, bool is_rotary_interleaved,
                        const OptionalTensor& scheduler_metadata, int64_t num_splits,
                        std::optional<bool> pack_gqa, int64_t sm_margin,
                        const OptionalTensor& s_aux, int64_t cp_world_size, int64_t cp_rank,
                        const OptionalTensor& cp_tot_seqused_k) {
  const DeviceCall call("fwd", q);
  // The heads that share keys are always together, rotary positions have no part in this, and
  // 8-bit elements, which alone have scales, are refused.
  (void)q_descale, (void)k_descale, (void)v_descale;
  (void)max_seqlen_q, (void)is_rotary_interleaved, (void)pack_gqa, (void)sm_margin, (void)cp_rank;
  RefuseGiven(call, {{"k_new", k_new.has_value()},
                     {"v_new", v_new.has_value()},
                     {"q_v", q_v.has_value()},
                     {"cu_seqlens_k_new", cu_seqlens_k_new.has_value()},
                     {"seqused_q", seqused_q.has_value()},
                     {"kv_batch_idx", kv_batch_idx.has_value()},
                     {"leftpad_k", leftpad_k.has_value()},
                     {"rotary_cos", rotary_cos.has_value()},
                     {"rotary_sin", rotary_sin.has_value()},
                     {"seqlens_rotary", seqlens_rotary.has_value()},
                     {"cp_world_size", cp_world_size != 1},
                     {"cp_tot_seqused_k", cp_tot_seqused_k.has_value()}});
  if (!cu_seqlens_q) call.Fail("cu_seqlens_q is missing: q is [tokens, heads, head_size]");
  std::vector<Tensor> found =
      RunVarlen(call,
                {q, k, v, out, *cu_seqlens_q, cu_seqlens_k, seqused_k, page_table, std::nullopt,
                 s_aux, scheduler_metadata, max_seqlen_k.value_or(device::kMaxKeys), softmax_scale,
                 is_causal, window_size_left, window_size_right, softcap, num_splits},
                device::RunPipelinedFlashAttention);
  for (int i = 0; i < 2; ++i) {
    found.push_back(torch::stable::new_empty(q, {0}, ScalarType::Float));
  }
  return found;
}

// Splits of each sequence, [seqs] of int32: as many parts of equal length as its keys fill.
Tensor get_scheduler_metadata(
    int64_t batch_size, int64_t max_seqlen_q, int64_t max_seqlen_k, int64_t num_heads,
    int64_t num_heads_k, int64_t headdim, int64_t headdim_v, ScalarType qkv_dtype,
    const Tensor& seqused_k, const OptionalTensor& cu_seqlens_q, const OptionalTensor& cu_seqlens_k,
    const OptionalTensor& cu_seqlens_k_new, const OptionalTensor& seqused_q,
    const OptionalTensor& leftpad_k, std::optional<int64_t> page_size, int64_t max_seqlen_k_new,
    bool is_causal, int64_t window_size_left, int64_t window_size_right, bool has_softcap,
    int64_t num_splits, std::optional<bool> pack_gqa, int64_t sm_margin) {
  const DeviceCall call("get_scheduler_metadata", seqused_k);
  (void)qkv_dtype, (void)cu_seqlens_q, (void)cu_seqlens_k, (void)page_size, (void)is_causal;
  (void)window_size_left, (void)window_size_right, (void)has_softcap, (void)pack_gqa;
  (void)sm_margin;
  RefuseGiven(call, {{"cu_seqlens_k_new", cu_seqlens_k_new.has_value()},
                     {"seqused_q", seqused_q.has_value()},
                     {"leftpad_k", leftpad_k.has_value()},
                     {"max_seqlen_k_new", max_seqlen_k_new != 0},
                     {"headdim_v other than headdim", headdim_v != headdim}});
  if (num_heads_k < 1 || num_heads % num_heads_k != 0) {
    call.Fail("there are " + std::to_string(num_heads) + " heads, expected a multiple of the " +
              std::to_string(num_heads_k) + " KV heads");
  }
  const Tensor splits = torch::stable::new_empty(seqused_k, {batch_size}, ScalarType::Int);
  const int limit = ChooseSplits(call, num_splits, batch_size * max_seqlen_q, batch_size, num_heads,
                                 num_heads_k, max_seqlen_k);
  device::PlanSplits({call.Op(), Ints(call.View("seqused_k", seqused_k), batch_size, "[seqs]"),
                      call.View("splits", splits).Data<int32_t>(), batch_size, max_seqlen_k, limit,
                      call.Stream()});
  return splits;
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_vllm_fa3_C, m) {
  m.def(
      "fwd(Tensor! q, Tensor k, Tensor v, Tensor? k_new, Tensor? v_new, Tensor? q_v, Tensor!? out, "
      "Tensor? cu_seqlens_q, Tensor? cu_seqlens_k, Tensor? cu_seqlens_k_new, Tensor? seqused_q, "
      "Tensor? seqused_k, int? max_seqlen_q, int? max_seqlen_k, Tensor? page_table, "
      "Tensor? kv_batch_idx, Tensor? leftpad_k, Tensor? rotary_cos, Tensor? rotary_sin, "
      "Tensor? seqlens_rotary, Tensor? q_descale, Tensor? k_descale, Tensor? v_descale, "
      "float softmax_scale, bool is_causal, int window_size_left, int window_size_right, "
      "float softcap, bool is_rotary_interleaved, Tensor? scheduler_metadata, int num_splits, "
      "bool? pack_gqa, int sm_margin, Tensor? s_aux, int cp_world_size, int cp_rank, "
      "Tensor? cp_tot_seqused_k) -> Tensor[]");
  m.def(
      "get_scheduler_metadata(int batch_size, int max_seqlen_q, int max_seqlen_k, int num_heads, "
      "int num_heads_k, int headdim, int headdim_v, ScalarType qkv_dtype, Tensor seqused_k, "
      "Tensor? cu_seqlens_q, Tensor? cu_seqlens_k, Tensor? cu_seqlens_k_new, Tensor? seqused_q, "
      "Tensor? leftpad_k, int? page_size, int max_seqlen_k_new, bool is_causal, "
      "int window_size_left, int window_size_right, bool has_softcap, int num_splits, "
      "bool? pack_gqa, int sm_margin) -> Tensor");
}

VLLM_DEVICE_KERNELS(_vllm_fa3_C, m) {
  m.impl("fwd", TORCH_BOX(&fwd));
  m.impl("get_scheduler_metadata", TORCH_BOX(&get_scheduler_metadata));
}

}  // namespace vllm
