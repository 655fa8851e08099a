// Attention of ragged batches as flash-attention's forks offer it: what the bindings of their
// second and third generation share.
#pragma once

#include <optional>
#include <vector>

#include "bindings/device/attention.h"

namespace vllm {

struct Varlen {
  const Tensor& query;                     // [tokens, heads, head_size]
  const Tensor& keys;                      // [keys, kv_heads, head_size], or paged
  const Tensor& values;                    // as keys
  const std::optional<Tensor>& out;        // as query
  const Tensor& query_start;               // [seqs + 1]
  const std::optional<Tensor>& key_start;  // [seqs + 1] of dense keys
  const std::optional<Tensor>& seq_lens;  // [seqs], of paged keys or instead of key_start's lengths
  const std::optional<Tensor>& block_table;
  const std::optional<Tensor>& alibi_slopes;
  const std::optional<Tensor>& sinks;       // [heads] as query
  const std::optional<Tensor>& seq_splits;  // [seqs], splits of each sequence, or nothing: all
  int64_t max_keys;                         // of a sequence, for the choice of splits
  double scale;
  bool causal;
  int64_t window_left;   // negative: all
  int64_t window_right;  // negative: all
  double soft_cap;
  int64_t splits;  // 0: as many as fill the device
};

// The most parts that the keys of one sequence are split into.
constexpr int kMaxSplits = 128;

// `splits` where it is not 0; else as many as fill the device, from shapes alone.
int ChooseSplits(const DeviceCall& call, int64_t splits, int64_t tokens, int64_t seqs,
                 int64_t heads, int64_t kv_heads, int64_t max_keys);

// Output and log-sum-exp [heads, tokens] of f32, sinks included; -infinity, and zeros in the
// output, where a query sees no key.
std::vector<Tensor> RunVarlen(const DeviceCall& call, const Varlen& varlen,
                              void (*run)(const device::FlashAttention&));

}  // namespace vllm
