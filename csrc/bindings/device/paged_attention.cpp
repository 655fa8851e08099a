#include "device/paged_attention.h"

#include "bindings/device/attention.h"

namespace vllm {
namespace {

struct CacheArguments {
  const Tensor& key_cache;
  const Tensor& value_cache;
  const std::string& kv_cache_dtype;
  const Tensor& k_scale;
  const Tensor& v_scale;
};

void CheckBlockSize(const TensorView& query, int64_t block_size) {
  if (block_size != 8 && block_size != 16 && block_size != 32) {
    Fail(query, "comes with block_size " + std::to_string(block_size) + ", expected 8, 16 or 32");
  }
}

void SetCaches(device::PagedAttention& a, const DeviceCall& call, const CacheArguments& caches,
               const TensorView& query) {
  const TensorView k = call.View("key_cache", caches.key_cache);
  const TensorView v = call.View("value_cache", caches.value_cache);
  const int64_t x = 16 / static_cast<int64_t>(caches.key_cache.element_size());
  const int64_t size = a.head_size, block_size = a.block_size;
  a.cache_type = CacheType(call, k, query, caches.kv_cache_dtype);
  CheckSameType(v, k);
  if (a.cache_type != a.type) {
    if (a.type == device::Type::kFloat32) {
      Fail(query, "is float32, expected bfloat16 or float16 with an 8-bit cache");
    }
    if (size % 16 != 0) {
      Fail(query, "has head size " + std::to_string(size) +
                      ", expected a multiple of 16 with an 8-bit cache");
    }
    a.k_scale = DeviceScalar(call.View("k_scale", caches.k_scale));
    a.v_scale = DeviceScalar(call.View("v_scale", caches.v_scale));
  }
  CheckShape(k, {-1, a.kv_heads, size / x, block_size, x},
             "[blocks, kv_heads, head_size / x, block_size, x]");
  CheckShape(v, {k.Size(0), a.kv_heads, size, block_size},
             "[blocks, kv_heads, head_size, block_size]");
  if (k.Stride(4) != 1 || k.Stride(3) != x || k.Stride(2) != x * block_size) {
    Fail(k, "has strides within a head, expected contiguous [head_size / x, block_size, x]");
  }
  if (v.Stride(3) != 1 || v.Stride(2) != block_size) {
    Fail(v, "has strides within a head, expected contiguous [head_size, block_size]");
  }
  for (const TensorView* cache : {&k, &v}) {
    if (!device::IsAligned(cache->data, 16) || cache->Stride(0) % x != 0 ||
        cache->Stride(1) % x != 0) {
      Fail(*cache, "has blocks or heads that do not start at multiples of 16 bytes");
    }
  }
  a.key_cache = k.data;
  a.value_cache = v.data;
  a.key_block_stride = k.Stride(0);
  a.key_head_stride = k.Stride(1);
  a.value_block_stride = v.Stride(0);
  a.value_head_stride = v.Stride(1);
  a.num_blocks = k.Size(0);
}

device::PagedAttention Attention(const DeviceCall& call, const Tensor& out, const Tensor& query,
                                 const CacheArguments& caches, int64_t num_kv_heads, double scale,
                                 const Tensor& block_tables, const Tensor& seq_lens,
                                 int64_t block_size, const std::optional<Tensor>& alibi_slopes,
                                 int64_t blocksparse_vert_stride) {
  const TensorView o = call.View("out", out), q = call.View("query", query);
  const TensorView lens = call.View("seq_lens", seq_lens);
  const TensorView table = call.View("block_tables", block_tables);
  if (blocksparse_vert_stride > 1) {
    Fail(q, "comes with blocksparse_vert_stride " + std::to_string(blocksparse_vert_stride) +
                ", expected 0 or 1: block-sparse attention is not offered");
  }
  CheckDim(q, 3);
  CheckLastContiguous(q);
  CheckSameType(o, q);
  CheckSameShape(o, q);
  CheckLastContiguous(o);
  CheckHeads(q, num_kv_heads);
  CheckBlockSize(q, block_size);
  CheckType(lens, ScalarType::Int);
  CheckDim(lens, 1);
  CheckContiguous(lens);
  CheckType(table, ScalarType::Int);
  CheckShape(table, {lens.Size(0), -1}, "[seqs, blocks]");
  CheckLastContiguous(table);
  if (lens.Size(0) > q.Size(0)) {
    Fail(q, "has " + std::to_string(q.Size(0)) + " tokens, expected one for each of " +
                std::to_string(lens.Size(0)) + " sequences");
  }
  device::PagedAttention a{};
  a.op = call.Op();
  a.out = o.data;
  a.query = q.data;
  a.out_seq_stride = o.Stride(0);
  a.out_head_stride = o.Stride(1);
  a.query_seq_stride = q.Stride(0);
  a.query_head_stride = q.Stride(1);
  a.block_table = table.Data<int32_t>();
  a.table_stride = table.Stride(0);
  a.max_blocks = table.Size(1);
  a.seq_lens = lens.Data<int32_t>();
  a.seqs = lens.Size(0);
  a.heads = static_cast<int>(q.Size(1));
  a.kv_heads = static_cast<int>(num_kv_heads);
  a.head_size = static_cast<int>(q.Size(2));
  a.block_size = static_cast<int>(block_size);
  a.scale = static_cast<float>(scale);
  a.type = DeviceFloatType(q);
  a.stream = call.Stream();
  SetCaches(a, call, caches, q);
  if (alibi_slopes) {
    const TensorView slopes = call.View("alibi_slopes", *alibi_slopes);
    CheckType(slopes, ScalarType::Float);
    CheckShape(slopes, {a.heads}, "[heads]");
    CheckContiguous(slopes);
    a.alibi_slopes = slopes.Data<float>();
  }
  return a;
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
  const CacheArguments caches{key_cache, value_cache, kv_cache_dtype, k_scale, v_scale};
  device::RunPagedAttention(Attention(call, out, query, caches, num_kv_heads, scale, block_tables,
                                      seq_lens, block_size, alibi_slopes, blocksparse_vert_stride));
}

// [seqs, heads, partitions] f32, contiguous.
float* PartitionValues(const TensorView& tensor, const device::PagedAttention& a) {
  CheckType(tensor, ScalarType::Float);
  CheckShape(tensor, {-1, a.heads, a.partitions}, "[seqs, heads, partitions]");
  CheckContiguous(tensor);
  if (tensor.Size(0) < a.seqs) {
    Fail(tensor, "has room for " + std::to_string(tensor.Size(0)) + " sequences, expected " +
                     std::to_string(a.seqs));
  }
  return tensor.Data<float>();
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
  const CacheArguments caches{key_cache, value_cache, kv_cache_dtype, k_scale, v_scale};
  device::PagedAttention a = Attention(call, out, query, caches, num_kv_heads, scale, block_tables,
                                       seq_lens, block_size, alibi_slopes, blocksparse_vert_stride);
  const TensorView sums = call.View("exp_sums", exp_sums);
  CheckDim(sums, 3);
  a.partitions = sums.Size(2);
  if (a.partitions * device::kPartitionTokens < max_seq_len || a.partitions < 1) {
    Fail(sums, "has " + std::to_string(a.partitions) + " partitions of " +
                   std::to_string(device::kPartitionTokens) +
                   " tokens, expected enough for max_seq_len = " + std::to_string(max_seq_len));
  }
  a.exp_sums = PartitionValues(sums, a);
  a.max_logits = PartitionValues(call.View("max_logits", max_logits), a);
  const TensorView partial = call.View("tmp_out", tmp_out);
  CheckType(partial, static_cast<ScalarType>(call.View("query", query).scalar_type));
  CheckShape(partial, {sums.Size(0), a.heads, a.partitions, a.head_size},
             "[seqs, heads, partitions, head_size]");
  CheckContiguous(partial);
  a.partial_out = partial.data;
  device::RunPagedAttention(a);
}

}  // namespace

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("paged_attention_v1", TORCH_BOX(&paged_attention_v1));
  m.impl("paged_attention_v2", TORCH_BOX(&paged_attention_v2));
}

}  // namespace vllm
