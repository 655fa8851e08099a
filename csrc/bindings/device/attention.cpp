#include "bindings/device/attention.h"

#include <algorithm>

namespace vllm {
namespace {

// After the check of the keys' own shape, heads in their dimension -2.
void SetKeys(device::FlashAttention& a, const TensorView& query, const TensorView& keys,
             const TensorView& values) {
  CheckSameType(keys, query);
  CheckVectors(keys);
  CheckSameType(values, query);
  CheckSameShape(values, keys);
  CheckVectors(values);
  CheckHeads(query, keys.Size(-2));
  a.keys = keys.data;
  a.values = values.data;
  a.kv_heads = static_cast<int>(keys.Size(-2));
  a.num_blocks = keys.Size(0);
}

}  // namespace

const int32_t* Ints(const TensorView& tensor, int64_t size, const char* meaning) {
  CheckType(tensor, ScalarType::Int);
  CheckShape(tensor, {size}, meaning);
  CheckContiguous(tensor);
  return tensor.Data<int32_t>();
}

void CheckHeads(const TensorView& query, int64_t kv_heads) {
  const int64_t heads = query.Size(1), size = query.Size(2);
  if (kv_heads < 1 || heads % kv_heads != 0) {
    Fail(query, "has " + std::to_string(heads) + " heads, expected a multiple of the " +
                    std::to_string(kv_heads) + " KV heads");
  }
  if (size % 8 != 0 || size < 8 || size > 256) {
    Fail(query, "has head size " + std::to_string(size) + ", expected a multiple of 8 up to 256");
  }
}

void CheckVectors(const TensorView& tensor) {
  bool aligned = device::IsAligned(tensor.data, 16) && tensor.Stride(-1) == 1;
  for (int64_t i = 0; aligned && i + 1 < tensor.dim; ++i) aligned = tensor.strides[i] % 8 == 0;
  if (!aligned) Fail(tensor, "has heads that do not start at multiples of 16 bytes");
}

void CheckHasSlots(const TensorView& cache) {
  if (cache.Size(0) < 1 || cache.Size(1) < 1) {
    Fail(cache, "has shape " + ShapeString(cache) + ", expected at least one block and one slot");
  }
}

device::FlashAttention QueryArguments(const DeviceCall& call, const TensorView& out,
                                      const TensorView& query) {
  CheckDim(query, 3);
  if (!query.Is(ScalarType::BFloat16)) CheckType(query, ScalarType::Half);
  CheckVectors(query);
  CheckSameType(out, query);
  CheckSameShape(out, query);
  CheckLastContiguous(out);
  device::FlashAttention a{};
  a.op = call.Op();
  a.out = out.data;
  a.query = query.data;
  a.out_token_stride = out.Stride(0);
  a.out_head_stride = out.Stride(1);
  a.query_token_stride = query.Stride(0);
  a.query_head_stride = query.Stride(1);
  a.tokens = query.Size(0);
  a.heads = static_cast<int>(query.Size(1));
  a.head_size = static_cast<int>(query.Size(2));
  a.window_left = a.window_right = -1;
  a.splits = 1;
  a.type = DeviceFloatType(query);
  a.stream = call.Stream();
  return a;
}

void SetPagedKeys(device::FlashAttention& a, const TensorView& query, const TensorView& keys,
                  const TensorView& values, const TensorView& table) {
  CheckShape(keys, {-1, -1, -1, query.Size(2)}, "[blocks, block_size, kv_heads, head_size]");
  CheckHasSlots(keys);
  SetKeys(a, query, keys, values);
  CheckType(table, ScalarType::Int);
  CheckShape(table, {a.seqs, -1}, "[seqs, blocks]");
  CheckLastContiguous(table);
  a.block_table = table.Data<int32_t>();
  a.table_stride = table.Stride(0);
  a.max_blocks = table.Size(1);
  a.block_size = static_cast<int>(keys.Size(1));
  a.key = {keys.Stride(0), keys.Stride(1), keys.Stride(2)};
  a.value = {values.Stride(0), values.Stride(1), values.Stride(2)};
}

void SetDenseKeys(device::FlashAttention& a, const TensorView& query, const TensorView& keys,
                  const TensorView& values, const TensorView& key_start) {
  CheckShape(keys, {-1, -1, query.Size(2)}, "[keys, kv_heads, head_size]");
  SetKeys(a, query, keys, values);
  a.key_start = Ints(key_start, a.seqs + 1, "[seqs + 1]");
  a.block_size = 1;
  a.key = {keys.Stride(0), 0, keys.Stride(1)};
  a.value = {values.Stride(0), 0, values.Stride(1)};
}

void SetAlibi(device::FlashAttention& a, const TensorView& slopes) {
  CheckType(slopes, ScalarType::Float);
  CheckLastContiguous(slopes);
  if (slopes.dim == 2) {
    CheckShape(slopes, {a.seqs, a.heads}, "[seqs, heads]");
    a.slopes_stride = slopes.Stride(0);
  } else {
    CheckShape(slopes, {a.heads}, "[heads]");
  }
  a.alibi_slopes = slopes.Data<float>();
}

void SetLse(device::FlashAttention& a, const TensorView& lse) {
  CheckType(lse, ScalarType::Float);
  CheckShape(lse, {a.heads, a.tokens}, "[heads, tokens]");
  CheckLastContiguous(lse);
  a.lse = lse.Data<float>();
  a.lse_stride = lse.Stride(0);
}

void RefuseGiven(const DeviceCall& call,
                 std::initializer_list<std::pair<const char*, bool>> options) {
  for (const auto& [name, given] : options) {
    if (given)
      call.Fail(std::string(name) + " is given, which these kernels cannot do; leave it out");
  }
}

}  // namespace vllm
