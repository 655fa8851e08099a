#include "bindings/device/paged_arguments.h"

#include "bindings/device/attention.h"

namespace vllm {
namespace {

void CheckBlockSize(const TensorView& query, int64_t block_size) {
  if (block_size != 8 && block_size != 16 && block_size != 32) {
    Fail(query, "comes with block_size " + std::to_string(block_size) + ", expected 8, 16 or 32");
  }
}

void SetCaches(device::PagedAttention& a, const DeviceCall& call, const PagedArguments& given,
               const TensorView& query) {
  const TensorView k = call.View("key_cache", given.key_cache);
  const TensorView v = call.View("value_cache", given.value_cache);
  const int64_t x = 16 / static_cast<int64_t>(given.key_cache.element_size());
  const int64_t size = a.head_size, block_size = a.block_size;
  a.cache_type = CacheType(call, k, query, given.kv_cache_dtype);
  CheckSameType(v, k);
  if (a.cache_type != a.type) {
    if (a.type == device::Type::kFloat32) {
      Fail(query, "is float32, expected bfloat16 or float16 with an 8-bit cache");
    }
    if (size % 16 != 0) {
      Fail(query, "has head size " + std::to_string(size) +
                      ", expected a multiple of 16 with an 8-bit cache");
    }
    a.k_scale = DeviceScalar(call.View("k_scale", given.k_scale));
    a.v_scale = DeviceScalar(call.View("v_scale", given.v_scale));
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

}  // namespace

device::PagedAttention CheckedAttention(const DeviceCall& call, const PagedArguments& given,
                                        const std::optional<Tensor>& query_start_loc) {
  const TensorView o = call.View("out", given.out), q = call.View("query", given.query);
  const TensorView lens = call.View("seq_lens", given.seq_lens);
  const TensorView table = call.View("block_tables", given.block_tables);
  CheckDim(q, 3);
  CheckLastContiguous(q);
  CheckSameType(o, q);
  CheckSameShape(o, q);
  CheckLastContiguous(o);
  CheckHeads(q, given.num_kv_heads);
  CheckBlockSize(q, given.block_size);
  CheckType(lens, ScalarType::Int);
  CheckDim(lens, 1);
  CheckContiguous(lens);
  CheckType(table, ScalarType::Int);
  CheckShape(table, {lens.Size(0), -1}, "[seqs, blocks]");
  CheckLastContiguous(table);
  if (!query_start_loc && lens.Size(0) > q.Size(0)) {
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
  if (query_start_loc) {
    a.query_start =
        Ints(call.View("query_start_loc", *query_start_loc), a.seqs + 1, "[sequences + 1]");
  }
  a.heads = static_cast<int>(q.Size(1));
  a.kv_heads = static_cast<int>(given.num_kv_heads);
  a.head_size = static_cast<int>(q.Size(2));
  a.block_size = static_cast<int>(given.block_size);
  a.scale = static_cast<float>(given.scale);
  a.type = DeviceFloatType(q);
  a.stream = call.Stream();
  SetCaches(a, call, given, q);
  if (given.alibi_slopes) {
    const TensorView slopes = call.View("alibi_slopes", *given.alibi_slopes);
    CheckType(slopes, ScalarType::Float);
    CheckShape(slopes, {a.heads}, "[heads]");
    CheckContiguous(slopes);
    a.alibi_slopes = slopes.Data<float>();
  }
  return a;
}

void SetPartitions(device::PagedAttention& a, const DeviceCall& call, const PagedArguments& given,
                   const Tensor& exp_sums, const Tensor& max_logits, const Tensor& tmp_out,
                   int64_t max_seq_len) {
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
  CheckType(partial, static_cast<ScalarType>(call.View("query", given.query).scalar_type));
  CheckShape(partial, {sums.Size(0), a.heads, a.partitions, a.head_size},
             "[seqs, heads, partitions, head_size]");
  CheckContiguous(partial);
  a.partial_out = partial.data;
}

}  // namespace vllm
