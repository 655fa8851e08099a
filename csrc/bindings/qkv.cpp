#include "cpu/qkv.h"

#include <optional>

#include "bindings/cache.h"
#include "bindings/recording.h"
#include "bindings/rotary.h"

namespace vllm {
namespace {

constexpr const char* kOp = "qkv_norm_rope_cache";

const void* HeadWeight(const char* name, const std::optional<Tensor>& weight, const TensorView& qkv,
                       int64_t head_size) {
  if (!weight.has_value()) return nullptr;
  const TensorView w = View(qkv.op, name, *weight);
  CheckSameType(w, qkv);
  CheckShape(w, {head_size}, "[head_size]");
  CheckContiguous(w);
  return w.data;
}

PagedCache Cache(const TensorView& cache, const TensorView& qkv, int64_t kv_heads,
                 int64_t head_size) {
  CheckSameType(cache, qkv);
  CheckShape(cache, {-1, -1, kv_heads, head_size}, "[blocks, block_size, kv_heads, head_size]");
  CheckLastContiguous(cache);
  return {cache.data, cache.Stride(0), cache.Stride(1), cache.Stride(2), false, {}};
}

// Everything but the caches' own fields.
QkvArgs CommonArgs(const TensorView& x, const TensorView& p,
                   const std::optional<Tensor>& cos_sin_cache,
                   const std::optional<Tensor>& q_weight, const std::optional<Tensor>& k_weight,
                   double eps, int64_t num_heads, int64_t num_kv_heads, int64_t head_size,
                   bool is_neox) {
  QkvArgs args{};
  args.dtype = FloatType(x);
  if (num_heads < 0 || num_kv_heads < 0 || head_size <= 0 || head_size > kMaxHeadSize) {
    Fail(x, "is described by num_heads " + std::to_string(num_heads) + ", num_kv_heads " +
                std::to_string(num_kv_heads) + ", head_size " + std::to_string(head_size) +
                "; expected counts of at least 0 and a head_size of 1 to " +
                std::to_string(kMaxHeadSize));
  }
  CheckShape(x, {-1, (num_heads + 2 * num_kv_heads) * head_size},
             "[tokens, (num_heads + 2 * num_kv_heads) * head_size]");
  CheckLastContiguous(x);
  args.qkv = x.data;
  args.token_stride = x.Stride(0);
  args.tokens = x.Size(0);
  args.heads = num_heads;
  args.kv_heads = num_kv_heads;
  args.head_size = head_size;
  CheckShape(p, {args.tokens}, "[tokens]");
  CheckContiguous(p);
  args.positions = p.Data<int64_t>();
  if (cos_sin_cache.has_value()) {
    const TensorView table = View(x.op, "cos_sin_cache", *cos_sin_cache);
    args.table = CheckRotaryTable(table, x, head_size);
    CheckPositions(p, table.Size(0));
  }
  args.q_weight = HeadWeight("q_weight", q_weight, x, head_size);
  args.k_weight = HeadWeight("k_weight", k_weight, x, head_size);
  args.epsilon = static_cast<float>(eps);
  args.is_neox = is_neox;
  return args;
}

void PackedCaches(const TensorView& k, const TensorView& v, QkvArgs* args) {
  CheckPackedCaches(k, v, args->head_size, CachePair(args->dtype));
  CheckShape(k, {-1, args->kv_heads, -1, -1, -1}, "num_kv_heads second");
  args->key_cache = {k.data, k.Stride(0), 0, k.Stride(1), true, {}};
  args->value_cache = {v.data, v.Stride(0), 0, v.Stride(1), true, {}};
  args->block_size = k.Size(3);
}

void SetSlots(const TensorView& slots, const TensorView& key_cache, QkvArgs* args) {
  CheckSlots(slots, args->tokens, key_cache.Size(0) * args->block_size);
  args->slots = slots.Data<int64_t>();
}

void qkv_norm_rope_cache(const Tensor& qkv, const Tensor& positions,
                         const std::optional<Tensor>& cos_sin_cache,
                         const std::optional<Tensor>& q_weight,
                         const std::optional<Tensor>& k_weight, double eps, int64_t num_heads,
                         int64_t num_kv_heads, int64_t head_size, bool is_neox,
                         const Tensor& key_cache, const Tensor& value_cache,
                         const Tensor& slot_mapping) {
  const TensorView x = View(kOp, "qkv", qkv), p = View(kOp, "positions", positions);
  const TensorView k = View(kOp, "key_cache", key_cache);
  const TensorView v = View(kOp, "value_cache", value_cache);
  QkvArgs args = CommonArgs(x, p, cos_sin_cache, q_weight, k_weight, eps, num_heads, num_kv_heads,
                            head_size, is_neox);
  if (k.dim == 5) {
    CheckSameType(k, x);
    CheckSameType(v, x);
    PackedCaches(k, v, &args);
  } else {
    args.key_cache = Cache(k, x, num_kv_heads, head_size);
    args.value_cache = Cache(v, x, num_kv_heads, head_size);
    CheckShape(v, {k.Size(0), k.Size(1), -1, -1}, "the blocks and block_size of key_cache");
    args.block_size = k.Size(1);
  }
  SetSlots(View(kOp, "slot_mapping", slot_mapping), k, &args);
  Launch([args] { QkvNormRopeCache(args); });
}

void qkv_norm_rope_quantized_cache(const Tensor& qkv, const Tensor& positions,
                                   const std::optional<Tensor>& cos_sin_cache,
                                   const std::optional<Tensor>& q_weight,
                                   const std::optional<Tensor>& k_weight, double eps,
                                   int64_t num_heads, int64_t num_kv_heads, int64_t head_size,
                                   bool is_neox, const Tensor& key_cache, const Tensor& value_cache,
                                   const Tensor& k_scale, const Tensor& v_scale,
                                   const Tensor& slot_mapping) {
  const char* op = "qkv_norm_rope_quantized_cache";
  const TensorView x = View(op, "qkv", qkv), p = View(op, "positions", positions);
  const TensorView k = View(op, "key_cache", key_cache), v = View(op, "value_cache", value_cache);
  QkvArgs args = CommonArgs(x, p, cos_sin_cache, q_weight, k_weight, eps, num_heads, num_kv_heads,
                            head_size, is_neox);
  args.code = CacheCode(k);
  CheckSameType(v, k);
  PackedCaches(k, v, &args);
  args.key_cache.scales = CacheScales(View(op, "k_scale", k_scale), k);
  args.value_cache.scales = CacheScales(View(op, "v_scale", v_scale), k);
  SetSlots(View(op, "slot_mapping", slot_mapping), k, &args);
  Launch([args] { QkvNormRopeCache(args); });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def(
      "qkv_norm_rope_cache(Tensor! qkv, Tensor positions, Tensor? cos_sin_cache, Tensor? q_weight, "
      "Tensor? k_weight, float eps, int num_heads, int num_kv_heads, int head_size, bool is_neox, "
      "Tensor! key_cache, Tensor! value_cache, Tensor slot_mapping) -> ()");
  m.def(
      "qkv_norm_rope_quantized_cache(Tensor! qkv, Tensor positions, Tensor? cos_sin_cache, "
      "Tensor? q_weight, Tensor? k_weight, float eps, int num_heads, int num_kv_heads, "
      "int head_size, bool is_neox, Tensor! key_cache, Tensor! value_cache, Tensor! k_scale, "
      "Tensor! v_scale, Tensor slot_mapping) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("qkv_norm_rope_cache", TORCH_BOX(&qkv_norm_rope_cache));
  m.impl("qkv_norm_rope_quantized_cache", TORCH_BOX(&qkv_norm_rope_quantized_cache));
}

}  // namespace vllm
