// torch.ops._vllm_fa2_C, by the schema of vLLM's fork of flash-attention.
#include <torch/csrc/stable/ops.h>

#include "flash_attn/varlen.h"

namespace vllm {
namespace {

std::vector<Tensor> varlen_fwd(const Tensor& q, const Tensor& k, const Tensor& v,
                               const std::optional<Tensor>& out, const Tensor& cu_seqlens_q,
                               const Tensor& cu_seqlens_k, const std::optional<Tensor>& seqused_k,
                               const std::optional<Tensor>& leftpad_k,
                               const std::optional<Tensor>& block_table,
                               const std::optional<Tensor>& alibi_slopes, int64_t max_seqlen_q,
                               int64_t max_seqlen_k, double p_dropout, double softmax_scale,
                               bool zero_tensors, bool is_causal, int64_t window_size_left,
                               int64_t window_size_right, double softcap, bool return_softmax,
                               int64_t num_splits, const std::optional<Tensor>& gen) {
  const DeviceCall call("varlen_fwd", q);
  (void)max_seqlen_q;
  RefuseGiven(call, {{"leftpad_k", leftpad_k.has_value()},
                     {"p_dropout", p_dropout != 0.0},
                     {"return_softmax", return_softmax},
                     {"gen", gen.has_value()}});
  if (zero_tensors && out) {
    Tensor zeroed = *out;
    torch::stable::zero_(zeroed);
  }
  return RunVarlen(call,
                   {q, k, v, out, cu_seqlens_q, cu_seqlens_k, seqused_k, block_table, alibi_slopes,
                    std::nullopt, std::nullopt, max_seqlen_k, softmax_scale, is_causal,
                    window_size_left, window_size_right, softcap, num_splits},
                   device::RunFlashAttention);
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_vllm_fa2_C, m) {
  m.def(
      "varlen_fwd(Tensor! q, Tensor k, Tensor v, Tensor!? out, Tensor cu_seqlens_q, "
      "Tensor cu_seqlens_k, Tensor? seqused_k, Tensor? leftpad_k, Tensor? block_table, "
      "Tensor? alibi_slopes, int max_seqlen_q, int max_seqlen_k, float p_dropout, "
      "float softmax_scale, bool zero_tensors, bool is_causal, int window_size_left, "
      "int window_size_right, float softcap, bool return_softmax, int num_splits, Tensor? gen) -> "
      "Tensor[]");
}

VLLM_DEVICE_KERNELS(_vllm_fa2_C, m) { m.impl("varlen_fwd", TORCH_BOX(&varlen_fwd)); }

}  // namespace vllm
