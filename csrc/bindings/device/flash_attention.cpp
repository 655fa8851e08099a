#include "device/flash_attention.h"

#include <algorithm>

#include "bindings/device/attention.h"

namespace vllm {
namespace {

void paged_attention_varlen(const Tensor& out, const Tensor& query, const Tensor& key_cache,
                            const Tensor& value_cache, const Tensor& query_start_loc,
                            const Tensor& seq_lens, const Tensor& block_table, double scale,
                            int64_t sliding_window, double soft_cap,
                            const std::optional<Tensor>& alibi_slopes,
                            const std::optional<Tensor>& lse) {
  const DeviceCall call("paged_attention_varlen", query);
  const TensorView q = call.View("query", query), lens = call.View("seq_lens", seq_lens);
  device::FlashAttention a = QueryArguments(call, call.View("out", out), q);
  CheckDim(lens, 1);
  a.seqs = static_cast<int>(lens.Size(0));
  a.seq_lens = Ints(lens, a.seqs, "[seqs]");
  a.query_start = Ints(call.View("query_start_loc", query_start_loc), a.seqs + 1, "[seqs + 1]");
  SetPagedKeys(a, q, call.View("key_cache", key_cache), call.View("value_cache", value_cache),
               call.View("block_table", block_table));
  if (sliding_window < 0 || !(soft_cap >= 0)) {
    Fail(q, "comes with sliding_window " + std::to_string(sliding_window) + " and soft_cap " +
                std::to_string(soft_cap) + ", expected neither below 0 (0 turns each off)");
  }
  // The window counts the query's own token.
  a.window_left = static_cast<int>(std::min<int64_t>(sliding_window, device::kMaxKeys)) - 1;
  a.window_right = 0;
  a.scale = static_cast<float>(scale);
  a.soft_cap = static_cast<float>(soft_cap);
  if (alibi_slopes) SetAlibi(a, call.View("alibi_slopes", *alibi_slopes));
  if (lse) SetLse(a, call.View("lse", *lse));
  if (a.seqs > 0) device::RunFlashAttention(a);
}

}  // namespace

VLLM_DEVICE_KERNELS(_C, m) { m.impl("paged_attention_varlen", TORCH_BOX(&paged_attention_varlen)); }

}  // namespace vllm
