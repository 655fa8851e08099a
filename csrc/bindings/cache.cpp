#include "bindings/cache.h"

#include <stdexcept>

#include "bindings/block_pairs.h"
#include "cpu/cache.h"

namespace vllm {

void CheckSlots(const TensorView& slot_mapping, int64_t tokens, int64_t slots) {
  CheckType(slot_mapping, ScalarType::Long);
  CheckShape(slot_mapping, {tokens}, "[tokens]");
  CheckContiguous(slot_mapping);
  const int64_t* values = slot_mapping.Data<int64_t>();
  for (int64_t i = 0; i < tokens; ++i) {
    if (values[i] >= slots) {
      Fail(slot_mapping, "holds slot " + std::to_string(values[i]) + ", expected less than " +
                             std::to_string(slots) +
                             " = blocks * block_size, or a negative one to skip");
    }
  }
}

void CheckPackedCaches(const TensorView& key_cache, const TensorView& value_cache,
                       int64_t head_size, int64_t pair) {
  if (head_size % pair != 0) {
    Fail(key_cache, "comes with head_size " + std::to_string(head_size) +
                        ", expected a multiple of " + std::to_string(pair) +
                        " for the packed layout of this dtype");
  }
  CheckShape(key_cache, {-1, -1, head_size / pair, -1, pair},
             "[blocks, kv_heads, head_size / p, block_size, p], p being 2 for bfloat16, else 1");
  const int64_t block_size = key_cache.Size(3);
  if (block_size < 1 || block_size % 16 != 0) {
    Fail(key_cache, "has block_size " + std::to_string(block_size) +
                        ", expected a positive multiple of 16 for the packed layout");
  }
  CheckShape(value_cache,
             {key_cache.Size(0), key_cache.Size(1), block_size / pair, head_size, pair},
             "[blocks, kv_heads, block_size / p, head_size, p]");
  for (const TensorView* cache : {&key_cache, &value_cache}) {
    const bool adjacent = (pair == 1 || cache->Stride(4) == 1) && cache->Stride(3) == pair &&
                          cache->Stride(2) == pair * cache->Size(3);
    if (!adjacent)
      Fail(*cache, "has strides within a head, expected its part of a block contiguous");
  }
}

KvCode CacheCode(const TensorView& cache) {
  if (cache.Is(ScalarType::Char)) return KvCode::kInt8;
  if (cache.Is(ScalarType::Float8_e4m3fn)) return KvCode::kE4m3;
  if (cache.Is(ScalarType::Float8_e5m2)) return KvCode::kE5m2;
  Fail(cache, "is not quantised, expected int8, float8_e4m3fn or float8_e5m2");
}

KvScales CacheScales(const TensorView& scales, const TensorView& key_cache) {
  CheckType(scales, ScalarType::Float);
  CheckContiguous(scales);
  if (scales.dim == 1) {
    CheckShape(scales, {1}, "one scale, or [blocks, kv_heads, block_size]");
    return {nullptr, 0, 0, *scales.Data<float>()};
  }
  CheckShape(scales, {key_cache.Size(0), key_cache.Size(1), key_cache.Size(3)},
             "[blocks, kv_heads, block_size], or one scale");
  return {scales.Data<float>(), scales.Stride(0), scales.Stride(1), 1.0f};
}

namespace {

void CheckAuto(const char* op, const std::string& kv_cache_dtype) {
  if (kv_cache_dtype == "auto") return;
  throw std::runtime_error(std::string(op) + ": kv_cache_dtype is '" + kv_cache_dtype +
                           "', expected 'auto' on CPU: the cache has the dtype of key and value");
}

CacheInput Input(const TensorView& tensor) {
  return {tensor.data, tensor.Stride(0), tensor.Stride(1)};
}

// Checks of key, value, caches' dtypes; slot_mapping may be shorter than key, whose rest is
// padding.
void CheckInputs(const TensorView& key, const TensorView& value, const TensorView& key_cache,
                 const TensorView& value_cache) {
  FloatType(key);
  CheckDim(key, 3);
  CheckLastContiguous(key);
  CheckSameType(value, key);
  CheckSameShape(value, key);
  CheckLastContiguous(value);
  CheckSameType(key_cache, key);
  CheckSameType(value_cache, key);
}

int64_t Tokens(const TensorView& slot_mapping, const TensorView& key) {
  CheckDim(slot_mapping, 1);
  if (slot_mapping.Size(0) > key.Size(0)) {
    Fail(slot_mapping, "has " + std::to_string(slot_mapping.Size(0)) +
                           " entries, expected at most " + std::to_string(key.Size(0)) +
                           ", the tokens of " + key.name);
  }
  return slot_mapping.Size(0);
}

void reshape_and_cache(const Tensor& key, const Tensor& value, const Tensor& key_cache,
                       const Tensor& value_cache, const Tensor& slot_mapping,
                       const std::string& kv_cache_dtype, const Tensor&, const Tensor&) {
  constexpr const char* kOp = "reshape_and_cache";
  CheckAuto(kOp, kv_cache_dtype);
  const TensorView k = View(kOp, "key", key), v = View(kOp, "value", value);
  const TensorView kc = View(kOp, "key_cache", key_cache),
                   vc = View(kOp, "value_cache", value_cache);
  const TensorView slots = View(kOp, "slot_mapping", slot_mapping);
  CheckInputs(k, v, kc, vc);
  CheckDim(kc, 5);
  const int64_t heads = k.Size(1), head_size = k.Size(2), block_size = kc.Size(3), x = kc.Size(4);
  if (x <= 0 || head_size % x != 0) {
    Fail(kc, "has shape " + ShapeString(kc) +
                 ", expected a last dimension that divides head_size " + std::to_string(head_size));
  }
  CheckShape(kc, {-1, heads, head_size / x, block_size, x},
             "[blocks, heads, head_size / x, block_size, x]");
  CheckShape(vc, {kc.Size(0), heads, head_size, block_size},
             "[blocks, heads, head_size, block_size]");
  CheckContiguous(kc);
  CheckContiguous(vc);
  const int64_t tokens = Tokens(slots, k);
  CheckSlots(slots, tokens, kc.Size(0) * block_size);
  ReshapeAndCache({Input(k), Input(v), kc.data, vc.data, tokens, heads, head_size, block_size, x,
                   slots.Data<int64_t>(), ElementSize(FloatType(k))});
}

void reshape_and_cache_flash(const Tensor& key, const Tensor& value, const Tensor& key_cache,
                             const Tensor& value_cache, const Tensor& slot_mapping,
                             const std::string& kv_cache_dtype, const Tensor&, const Tensor&) {
  constexpr const char* kOp = "reshape_and_cache_flash";
  CheckAuto(kOp, kv_cache_dtype);
  const TensorView k = View(kOp, "key", key), v = View(kOp, "value", value);
  const TensorView kc = View(kOp, "key_cache", key_cache),
                   vc = View(kOp, "value_cache", value_cache);
  const TensorView slots = View(kOp, "slot_mapping", slot_mapping);
  CheckInputs(k, v, kc, vc);
  CheckShape(kc, {-1, -1, k.Size(1), k.Size(2)}, "[blocks, block_size, heads, head_size]");
  CheckSameShape(vc, kc);
  CheckLastContiguous(kc);
  CheckLastContiguous(vc);
  const int64_t tokens = Tokens(slots, k);
  CheckSlots(slots, tokens, kc.Size(0) * kc.Size(1));
  ReshapeAndCacheFlash({{Input(k), Input(v)},
                        {kc.data, vc.data},
                        {kc.Stride(0), vc.Stride(0)},
                        {kc.Stride(1), vc.Stride(1)},
                        {kc.Stride(2), vc.Stride(2)},
                        tokens,
                        k.Size(1),
                        k.Size(2),
                        kc.Size(1),
                        slots.Data<int64_t>(),
                        ElementSize(FloatType(k))});
}

void concat_and_cache_mla(const Tensor& kv_c, const Tensor& k_pe, const Tensor& kv_cache,
                          const Tensor& slot_mapping, const std::string& kv_cache_dtype,
                          const Tensor&) {
  constexpr const char* kOp = "concat_and_cache_mla";
  CheckAuto(kOp, kv_cache_dtype);
  const TensorView latent = View(kOp, "kv_c", kv_c), rope = View(kOp, "k_pe", k_pe);
  const TensorView cache = View(kOp, "kv_cache", kv_cache);
  const TensorView slots = View(kOp, "slot_mapping", slot_mapping);
  const DType dtype = FloatType(latent);
  CheckDim(latent, 2);
  CheckLastContiguous(latent);
  CheckSameType(rope, latent);
  CheckShape(rope, {latent.Size(0), -1}, "[tokens, rope_size]");
  CheckLastContiguous(rope);
  CheckSameType(cache, latent);
  CheckShape(cache, {-1, -1, latent.Size(1) + rope.Size(1)},
             "[blocks, block_size, rank + rope_size]");
  CheckLastContiguous(cache);
  const int64_t tokens = Tokens(slots, latent);
  CheckSlots(slots, tokens, cache.Size(0) * cache.Size(1));
  ConcatAndCacheLatents({latent.data, rope.data, cache.data, latent.Stride(0), rope.Stride(0),
                         cache.Stride(0), cache.Stride(1), tokens, latent.Size(1), rope.Size(1),
                         cache.Size(1), slots.Data<int64_t>(), ElementSize(dtype)});
}

// Bytes of the tensor's memory from its first element on.
int64_t Bytes(const TensorView& tensor, const Tensor& owner) {
  return tensor.Numel() * static_cast<int64_t>(owner.element_size());
}

void swap_blocks(const Tensor& src, const Tensor& dst, int64_t block_size_in_bytes,
                 const Tensor& block_mapping) {
  constexpr const char* kOp = "swap_blocks";
  const TensorView s = View(kOp, "src", src), d = View(kOp, "dst", dst);
  const TensorView pairs = View(kOp, "block_mapping", block_mapping);
  CheckContiguous(s);
  CheckContiguous(d);
  CheckBlockPairs(pairs, Bytes(s, src), Bytes(d, dst), block_size_in_bytes);
  SwapBlocks(s.data, d.data, block_size_in_bytes, pairs.Data<int64_t>(), pairs.Size(0));
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C_cache_ops, m) {
  m.def(
      "swap_blocks(Tensor src, Tensor! dst, int block_size_in_bytes, Tensor block_mapping) -> ()");
  m.def(
      "reshape_and_cache(Tensor key, Tensor value, Tensor! key_cache, Tensor! value_cache, Tensor "
      "slot_mapping, "
      "str kv_cache_dtype, Tensor k_scale, Tensor v_scale) -> ()");
  m.def(
      "reshape_and_cache_flash(Tensor key, Tensor value, Tensor! key_cache, Tensor! value_cache, "
      "Tensor slot_mapping, str kv_cache_dtype, Tensor k_scale, Tensor v_scale) -> ()");
  m.def(
      "concat_and_cache_mla(Tensor kv_c, Tensor k_pe, Tensor! kv_cache, Tensor slot_mapping, "
      "str kv_cache_dtype, Tensor scale) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C_cache_ops, CPU, m) {
  m.impl("swap_blocks", TORCH_BOX(&swap_blocks));
  m.impl("reshape_and_cache", TORCH_BOX(&reshape_and_cache));
  m.impl("reshape_and_cache_flash", TORCH_BOX(&reshape_and_cache_flash));
  m.impl("concat_and_cache_mla", TORCH_BOX(&concat_and_cache_mla));
}

}  // namespace vllm
