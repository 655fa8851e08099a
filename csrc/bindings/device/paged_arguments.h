// What the ops of attention over the classic layout of the paged cache share: checks of their
// arguments, and the kernel's view of them.
#pragma once

#include <optional>
#include <string>

#include "bindings/device/call.h"
#include "device/paged_attention.h"

namespace vllm {

struct PagedArguments {
  const Tensor& out;
  const Tensor& query;
  const Tensor& key_cache;
  const Tensor& value_cache;
  int64_t num_kv_heads;
  double scale;
  const Tensor& block_tables;
  const Tensor& seq_lens;
  int64_t block_size;
  const std::optional<Tensor>& alibi_slopes;
  const std::string& kv_cache_dtype;
  const Tensor& k_scale;
  const Tensor& v_scale;
};

// Of one token a sequence, or of `query_start_loc` ([seqs + 1] of int32).
device::PagedAttention CheckedAttention(const DeviceCall& call, const PagedArguments& given,
                                        const std::optional<Tensor>& query_start_loc);

// Where partitions of a sequence leave their parts: at least as many as max_seq_len needs.
void SetPartitions(device::PagedAttention& a, const DeviceCall& call, const PagedArguments& given,
                   const Tensor& exp_sums, const Tensor& max_logits, const Tensor& tmp_out,
                   int64_t max_seq_len);

}  // namespace vllm
