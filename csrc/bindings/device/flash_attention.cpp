#include "device/flash_attention.h"

#include <algorithm>

#include "bindings/device/call.h"

namespace vllm {
namespace {

const int32_t* Ints(const TensorView& tensor, int64_t size, const char* meaning) {
  CheckType(tensor, ScalarType::Int);
  CheckShape(tensor, {size}, meaning);
  CheckContiguous(tensor);
  return tensor.Data<int32_t>();
}

// Rows that are read in vectors of 8 elements.
void CheckVectors(const TensorView& tensor) {
  bool aligned = device::IsAligned(tensor.data, 16) && tensor.Stride(-1) == 1;
  for (int64_t i = 0; aligned && i + 1 < tensor.dim; ++i) aligned = tensor.strides[i] % 8 == 0;
  if (!aligned) Fail(tensor, "has heads that do not start at multiples of 16 bytes");
}

device::CacheStrides Strides(const TensorView& cache) {
  return {cache.Stride(0), cache.Stride(1), cache.Stride(2)};
}

void CheckHeads(const TensorView& query, const TensorView& keys) {
  const int64_t heads = query.Size(1), kv_heads = keys.Size(2), size = query.Size(2);
  if (kv_heads < 1 || heads % kv_heads != 0) {
    Fail(query, "has " + std::to_string(heads) + " heads, expected a multiple of the " +
                    std::to_string(kv_heads) + " KV heads");
  }
  if (size % 8 != 0 || size < 8 || size > 256) {
    Fail(query, "has head size " + std::to_string(size) + ", expected a multiple of 8 up to 256");
  }
}

void paged_attention_varlen(const Tensor& out, const Tensor& query, const Tensor& key_cache,
                            const Tensor& value_cache, const Tensor& query_start_loc,
                            const Tensor& seq_lens, const Tensor& block_table, double scale,
                            int64_t sliding_window, double soft_cap,
                            const std::optional<Tensor>& alibi_slopes,
                            const std::optional<Tensor>& lse) {
  const DeviceCall call("paged_attention_varlen", query);
  const TensorView o = call.View("out", out), q = call.View("query", query);
  const TensorView k = call.View("key_cache", key_cache), v = call.View("value_cache", value_cache);
  const TensorView lens = call.View("seq_lens", seq_lens);
  const TensorView table = call.View("block_table", block_table);
  CheckDim(q, 3);
  if (!q.Is(ScalarType::BFloat16)) CheckType(q, ScalarType::Half);
  CheckVectors(q);
  CheckSameType(o, q);
  CheckSameShape(o, q);
  CheckLastContiguous(o);
  CheckSameType(k, q);
  CheckShape(k, {-1, -1, -1, q.Size(2)}, "[blocks, block_size, kv_heads, head_size]");
  CheckVectors(k);
  CheckSameType(v, q);
  CheckSameShape(v, k);
  CheckVectors(v);
  CheckHeads(q, k);
  CheckDim(lens, 1);
  const int64_t seqs = lens.Size(0);
  CheckType(table, ScalarType::Int);
  CheckShape(table, {seqs, -1}, "[seqs, blocks]");
  CheckLastContiguous(table);
  if (sliding_window < 0 || !(soft_cap >= 0)) {
    Fail(q, "comes with sliding_window " + std::to_string(sliding_window) + " and soft_cap " +
                std::to_string(soft_cap) + ", expected neither below 0 (0 turns each off)");
  }
  device::FlashAttention a{};
  a.op = call.Op();
  a.out = o.data;
  a.query = q.data;
  a.key_cache = k.data;
  a.value_cache = v.data;
  a.query_start = Ints(call.View("query_start_loc", query_start_loc), seqs + 1, "[seqs + 1]");
  a.seq_lens = Ints(lens, seqs, "[seqs]");
  a.block_table = table.Data<int32_t>();
  a.out_token_stride = o.Stride(0);
  a.out_head_stride = o.Stride(1);
  a.query_token_stride = q.Stride(0);
  a.query_head_stride = q.Stride(1);
  a.key = Strides(k);
  a.value = Strides(v);
  a.table_stride = table.Stride(0);
  a.max_blocks = table.Size(1);
  a.num_blocks = k.Size(0);
  a.tokens = q.Size(0);
  a.seqs = static_cast<int>(seqs);
  a.heads = static_cast<int>(q.Size(1));
  a.kv_heads = static_cast<int>(k.Size(2));
  a.head_size = static_cast<int>(q.Size(2));
  a.block_size = static_cast<int>(k.Size(1));
  a.sliding_window = static_cast<int>(std::min<int64_t>(sliding_window, INT32_MAX));
  a.scale = static_cast<float>(scale);
  a.soft_cap = static_cast<float>(soft_cap);
  a.type = DeviceFloatType(q);
  a.stream = call.Stream();
  if (alibi_slopes) {
    const TensorView slopes = call.View("alibi_slopes", *alibi_slopes);
    CheckType(slopes, ScalarType::Float);
    CheckShape(slopes, {a.heads}, "[heads]");
    CheckContiguous(slopes);
    a.alibi_slopes = slopes.Data<float>();
  }
  if (lse) {
    const TensorView l = call.View("lse", *lse);
    CheckType(l, ScalarType::Float);
    CheckShape(l, {a.heads, q.Size(0)}, "[heads, tokens]");
    CheckLastContiguous(l);
    a.lse = l.Data<float>();
    a.lse_stride = l.Stride(0);
  }
  if (seqs == 0) return;
  device::RunFlashAttention(a);
}

}  // namespace

VLLM_DEVICE_KERNELS(_C, m) { m.impl("paged_attention_varlen", TORCH_BOX(&paged_attention_varlen)); }

}  // namespace vllm
