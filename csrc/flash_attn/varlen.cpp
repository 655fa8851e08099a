#include "flash_attn/varlen.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "device/join_splits.h"

namespace vllm {
namespace {

// Of a tile of rows, and of a tile of keys, about: both are only for the choice of splits.
constexpr int64_t kRowsOfTile = 64, kKeysOfTile = 64;

int Window(int64_t size) {
  return static_cast<int>(std::clamp<int64_t>(size, -1, device::kMaxKeys));
}

device::FlashAttention Arguments(const DeviceCall& call, const Varlen& v, const TensorView& q,
                                 const TensorView& out) {
  const TensorView starts = call.View("cu_seqlens_q", v.query_start);
  device::FlashAttention a = QueryArguments(call, out, q);
  CheckDim(starts, 1);
  if (starts.Size(0) < 1) Fail(starts, "is empty, expected [seqs + 1]");
  a.seqs = static_cast<int>(starts.Size(0) - 1);
  a.query_start = Ints(starts, a.seqs + 1, "[seqs + 1]");
  const TensorView k = call.View("k", v.keys), values = call.View("v", v.values);
  if (v.block_table) {
    if (!v.seq_lens) call.Fail("block_table is given without seqused_k, the sequences' lengths");
    SetPagedKeys(a, q, k, values, call.View("block_table", *v.block_table));
  } else {
    if (!v.key_start) call.Fail("neither block_table nor cu_seqlens_k says where keys lie");
    SetDenseKeys(a, q, k, values, call.View("cu_seqlens_k", *v.key_start));
  }
  if (v.seq_lens) a.seq_lens = Ints(call.View("seqused_k", *v.seq_lens), a.seqs, "[seqs]");
  if (v.alibi_slopes) SetAlibi(a, call.View("alibi_slopes", *v.alibi_slopes));
  if (v.sinks) {
    const TensorView sinks = call.View("s_aux", *v.sinks);
    CheckSameType(sinks, q);
    CheckShape(sinks, {a.heads}, "[heads]");
    CheckContiguous(sinks);
    a.sinks = sinks.data;
  }
  a.window_left = Window(v.window_left);
  a.window_right = v.causal ? 0 : Window(v.window_right);
  if (!(v.soft_cap >= 0)) call.Fail("softcap is below 0, expected 0 (none) or more");
  a.scale = static_cast<float>(v.scale);
  a.soft_cap = static_cast<float>(v.soft_cap);
  return a;
}

void RunSplit(const DeviceCall& call, const Varlen& v, device::FlashAttention a,
              void (*run)(const device::FlashAttention&)) {
  const auto f32 = ScalarType::Float;
  const Tensor out =
      torch::stable::new_empty(v.query, {a.splits, a.heads, a.tokens, a.head_size}, f32);
  const Tensor lse = torch::stable::new_empty(v.query, {a.splits, a.heads, a.tokens}, f32);
  a.partial_out = call.View("partial output", out).Data<float>();
  a.partial_lse = call.View("partial lse", lse).Data<float>();
  if (v.seq_splits) {
    a.seq_splits = Ints(call.View("scheduler_metadata", *v.seq_splits), a.seqs, "[seqs]");
  }
  run(a);
  device::JoinSplits({a.op, a.partial_out, a.partial_lse, a.out, a.out_token_stride,
                      a.out_head_stride, a.lse, 1, a.lse_stride, a.tokens, a.query_start + a.seqs,
                      a.heads, a.head_size, a.splits, a.type, a.stream});
}

}  // namespace

int ChooseSplits(const DeviceCall& call, int64_t splits, int64_t tokens, int64_t seqs,
                 int64_t heads, int64_t kv_heads, int64_t max_keys) {
  if (splits < 0 || splits > kMaxSplits) {
    call.Fail("num_splits is " + std::to_string(splits) + ", expected 0 (chosen here) to " +
              std::to_string(kMaxSplits));
  }
  if (splits > 0) return static_cast<int>(splits);
  const int64_t row_tiles = tokens * (heads / kv_heads) / kRowsOfTile + seqs;
  return device::SplitsFor(row_tiles * kv_heads, max_keys / kKeysOfTile, kMaxSplits);
}

std::vector<Tensor> RunVarlen(const DeviceCall& call, const Varlen& v,
                              void (*run)(const device::FlashAttention&)) {
  const TensorView q = call.View("q", v.query);
  CheckDim(q, 3);
  const Tensor out =
      v.out ? *v.out : torch::stable::new_empty(v.query, {q.Size(0), q.Size(1), q.Size(2)});
  const Tensor lse = torch::stable::new_empty(v.query, {q.Size(1), q.Size(0)}, ScalarType::Float);
  device::FlashAttention a = Arguments(call, v, q, call.View("out", out));
  SetLse(a, call.View("softmax_lse", lse));
  if (a.seqs > 0 && a.tokens > 0) {
    a.splits = ChooseSplits(call, v.splits, a.tokens, a.seqs, a.heads, a.kv_heads, v.max_keys);
    if (a.splits > 1) {
      RunSplit(call, v, a, run);
    } else {
      run(a);
    }
  }
  return {out, lse};
}

}  // namespace vllm
