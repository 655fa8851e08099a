#include "device/rotary.h"

#include "bindings/device/call.h"
#include "bindings/rotary_offset.h"

namespace vllm {
namespace {

// [tokens..., heads * head_size] or [tokens..., heads, head_size] under positions' dimensions.
device::Heads HeadsOf(const TensorView& tensor, const TensorView& positions, int64_t head_size) {
  CheckLastContiguous(tensor);
  const int64_t token_dims = positions.dim;
  bool fits = tensor.dim == token_dims + 1 || tensor.dim == token_dims + 2;
  for (int64_t i = 0; fits && i < token_dims; ++i) fits = tensor.sizes[i] == positions.sizes[i];
  const bool flat = tensor.dim == token_dims + 1;
  fits = fits && (flat ? tensor.Size(-1) % head_size == 0 : tensor.Size(-1) == head_size);
  if (!fits) {
    Fail(tensor, "has shape " + ShapeString(tensor) + ", expected " + ShapeString(positions) +
                     " (the shape of positions) followed by heads * head_size or heads, head_size "
                     "with head_size " +
                     std::to_string(head_size));
  }
  return {tensor.data, token_dims == 2 ? tensor.Stride(0) : 0, tensor.Stride(token_dims - 1),
          flat ? head_size : tensor.Stride(-2),
          static_cast<int>(flat ? tensor.Size(-1) / head_size : tensor.Size(-2))};
}

void SetTable(device::Rotary& rotary, const TensorView& table, const TensorView& like,
              int64_t head_size) {
  CheckDim(table, 2);
  CheckLastContiguous(table);
  if (!table.Is(ScalarType::Float)) CheckSameType(table, like);
  const int64_t size = table.Size(1);
  if (size <= 0 || size % 2 != 0 || size > head_size) {
    Fail(table, "has shape " + ShapeString(table) +
                    ", expected [max_position, rotary_size] with an even rotary_size of at most " +
                    std::to_string(head_size) + ", the head size");
  }
  rotary.table = table.data;
  rotary.table_stride = table.Stride(0);
  rotary.table_rows = table.Size(0);
  rotary.table_type = DeviceFloatType(table);
  rotary.rotary_size = static_cast<int>(size);
  rotary.head_size = static_cast<int>(head_size);
}

void SetPositions(device::Rotary& rotary, const TensorView& positions) {
  CheckType(positions, ScalarType::Long);
  if (positions.dim != 1 && positions.dim != 2) {
    Fail(positions,
         "has shape " + ShapeString(positions) + ", expected [tokens] or [batch, tokens]");
  }
  rotary.positions = positions.Data<int64_t>();
  rotary.positions_outer_stride = positions.dim == 2 ? positions.Stride(0) : 0;
  rotary.positions_stride = positions.Stride(-1);
  rotary.outer = positions.dim == 2 ? positions.Size(0) : 1;
  rotary.tokens = positions.Size(-1);
}

void CheckHeadSize(const TensorView& tensor, int64_t head_size, int64_t limit) {
  if (head_size > 0 && head_size <= limit) return;
  Fail(tensor,
       "has head_size " + std::to_string(head_size) + ", expected 1 to " + std::to_string(limit));
}

void rotary_embedding(const Tensor& positions, const Tensor& query,
                      const std::optional<Tensor>& key, int64_t head_size,
                      const Tensor& cos_sin_cache, bool is_neox, int64_t rope_dim_offset,
                      bool inverse) {
  const DeviceCall call("rotary_embedding", query);
  const TensorView p = call.View("positions", positions), q = call.View("query", query);
  CheckHeadSize(q, head_size, 1024);
  device::Rotary rotary{};
  rotary.op = call.Op();
  SetPositions(rotary, p);
  rotary.type = DeviceFloatType(q);
  rotary.query = HeadsOf(q, p, head_size);
  if (key) {
    const TensorView k = call.View("key", *key);
    CheckSameType(k, q);
    rotary.key = HeadsOf(k, p, head_size);
  }
  const TensorView table = call.View("cos_sin_cache", cos_sin_cache);
  SetTable(rotary, table, q, head_size);
  CheckRotaryOffset(table, rope_dim_offset, head_size);
  const int64_t skipped = rope_dim_offset * static_cast<int64_t>(query.element_size());
  rotary.query.data = static_cast<char*>(rotary.query.data) + skipped;
  if (key) rotary.key.data = static_cast<char*>(rotary.key.data) + skipped;
  rotary.is_neox = is_neox;
  rotary.inverse = inverse;
  rotary.stream = call.Stream();
  device::RotaryEmbedding(rotary);
}

const void* HeadWeight(const TensorView& weight, const TensorView& like, int64_t head_size) {
  CheckSameType(weight, like);
  CheckShape(weight, {head_size}, "[head_dim]");
  CheckContiguous(weight);
  return weight.data;
}

void fused_qk_norm_rope(const Tensor& qkv, int64_t num_heads_q, int64_t num_heads_k,
                        int64_t num_heads_v, int64_t head_dim, double eps, const Tensor& q_weight,
                        const Tensor& k_weight, const Tensor& cos_sin_cache, bool is_neox,
                        const Tensor& position_ids, int64_t /*forced_token_heads_per_warp*/) {
  const DeviceCall call("fused_qk_norm_rope", qkv);
  const TensorView x = call.View("qkv", qkv);
  CheckHeadSize(x, head_dim, 256);
  if (num_heads_q < 0 || num_heads_k < 0 || num_heads_v < 0) {
    call.Fail("a number of heads is negative, expected at least 0");
  }
  CheckShape(x, {-1, (num_heads_q + num_heads_k + num_heads_v) * head_dim},
             "[tokens, (num_heads_q + num_heads_k + num_heads_v) * head_dim]");
  CheckLastContiguous(x);
  const TensorView p = call.View("position_ids", position_ids);
  CheckShape(p, {x.Size(0)}, "[tokens]");
  device::Rotary rotary{};
  rotary.op = call.Op();
  SetPositions(rotary, p);
  rotary.type = DeviceFloatType(x);
  const size_t skipped = static_cast<size_t>(num_heads_q * head_dim) * qkv.element_size();
  rotary.query = {x.data, 0, x.Stride(0), head_dim, static_cast<int>(num_heads_q)};
  rotary.key = {x.Data<char>() + skipped, 0, x.Stride(0), head_dim, static_cast<int>(num_heads_k)};
  SetTable(rotary, call.View("cos_sin_cache", cos_sin_cache), x, head_dim);
  rotary.is_neox = is_neox;
  rotary.query_weight = HeadWeight(call.View("q_weight", q_weight), x, head_dim);
  rotary.key_weight = HeadWeight(call.View("k_weight", k_weight), x, head_dim);
  rotary.epsilon = static_cast<float>(eps);
  rotary.stream = call.Stream();
  device::NormRotaryEmbedding(rotary);
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C, m) {
  m.def(
      "fused_qk_norm_rope(Tensor! qkv, int num_heads_q, int num_heads_k, int num_heads_v, "
      "int head_dim, float eps, Tensor q_weight, Tensor k_weight, Tensor cos_sin_cache, "
      "bool is_neox, Tensor position_ids, int forced_token_heads_per_warp=-1) -> ()");
}

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("rotary_embedding", TORCH_BOX(&rotary_embedding));
  m.impl("fused_qk_norm_rope", TORCH_BOX(&fused_qk_norm_rope));
}

}  // namespace vllm
