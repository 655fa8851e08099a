#include "bindings/device/paged_arguments.h"

namespace vllm {
namespace {

void RefuseBlocksparse(const DeviceCall& call, int64_t vert_stride) {
  if (vert_stride <= 1) return;
  call.Fail("blocksparse_vert_stride is " + std::to_string(vert_stride) +
            ", expected 0 or 1: block-sparse attention is not offered");
}

void paged_attention_v1(const Tensor& out, const Tensor& query, const Tensor& key_cache,
                        const Tensor& value_cache, int64_t num_kv_heads, double scale,
                        const Tensor& block_tables, const Tensor& seq_lens, int64_t block_size,
                        int64_t /*max_seq_len*/, const std::optional<Tensor>& alibi_slopes,
                        const std::string& kv_cache_dtype, const Tensor& k_scale,
                        const Tensor& v_scale, int64_t /*tp_rank*/,
                        int64_t /*blocksparse_local_blocks*/, int64_t blocksparse_vert_stride,
                        int64_t /*blocksparse_block_size*/,
                        int64_t /*blocksparse_head_sliding_step*/) {
  const DeviceCall call("paged_attention_v1", query);
  RefuseBlocksparse(call, blocksparse_vert_stride);
  device::RunPagedAttention(
      CheckedAttention(call,
                       {out, query, key_cache, value_cache, num_kv_heads, scale, block_tables,
                        seq_lens, block_size, alibi_slopes, kv_cache_dtype, k_scale, v_scale},
                       std::nullopt));
}

void paged_attention_v2(const Tensor& out, const Tensor& exp_sums, const Tensor& max_logits,
                        const Tensor& tmp_out, const Tensor& query, const Tensor& key_cache,
                        const Tensor& value_cache, int64_t num_kv_heads, double scale,
                        const Tensor& block_tables, const Tensor& seq_lens, int64_t block_size,
                        int64_t max_seq_len, const std::optional<Tensor>& alibi_slopes,
                        const std::string& kv_cache_dtype, const Tensor& k_scale,
                        const Tensor& v_scale, int64_t /*tp_rank*/,
                        int64_t /*blocksparse_local_blocks*/, int64_t blocksparse_vert_stride,
                        int64_t /*blocksparse_block_size*/,
                        int64_t /*blocksparse_head_sliding_step*/) {
  const DeviceCall call("paged_attention_v2", query);
  RefuseBlocksparse(call, blocksparse_vert_stride);
  const PagedArguments given{
      out,      query,      key_cache,    value_cache,    num_kv_heads, scale,  block_tables,
      seq_lens, block_size, alibi_slopes, kv_cache_dtype, k_scale,      v_scale};
  device::PagedAttention a = CheckedAttention(call, given, std::nullopt);
  SetPartitions(a, call, given, exp_sums, max_logits, tmp_out, max_seq_len);
  device::RunPagedAttention(a);
}

}  // namespace

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("paged_attention_v1", TORCH_BOX(&paged_attention_v1));
  m.impl("paged_attention_v2", TORCH_BOX(&paged_attention_v2));
}

}  // namespace vllm
