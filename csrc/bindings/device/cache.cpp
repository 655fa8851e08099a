#include "device/cache.h"

#include "bindings/block_pairs.h"
#include "bindings/device/call.h"

namespace vllm {
namespace {

// slot_mapping may be shorter than key and value, whose rest is padding.
int64_t Tokens(const TensorView& slots, const TensorView& like) {
  CheckType(slots, ScalarType::Long);
  CheckDim(slots, 1);
  CheckContiguous(slots);
  if (slots.Size(0) > like.Size(0)) {
    Fail(slots, "has " + std::to_string(slots.Size(0)) + " entries, expected at most " +
                    std::to_string(like.Size(0)) + ", the tokens of " + like.name);
  }
  return slots.Size(0);
}

// f32, one value or one for each head.
device::CacheScale CacheScales(const TensorView& scale, int64_t heads) {
  if (scale.Numel() == 1) return {DeviceScalar(scale), 0};
  CheckType(scale, ScalarType::Float);
  CheckShape(scale, {heads}, "[heads], or one value");
  return {scale.Data<float>(), scale.Stride(0)};
}

device::CacheWrite Write(const DeviceCall& call, const TensorView& k, const TensorView& v,
                         const TensorView& kc, const TensorView& vc, const TensorView& slots,
                         const std::string& kv_cache_dtype, const Tensor& k_scale,
                         const Tensor& v_scale) {
  CheckDim(k, 3);
  CheckLastContiguous(k);
  CheckSameType(v, k);
  CheckSameShape(v, k);
  CheckLastContiguous(v);
  device::CacheWrite write{};
  write.op = call.Op();
  write.type = DeviceFloatType(k);
  write.cache_type = CacheType(call, kc, k, kv_cache_dtype);
  CheckSameType(vc, kc);
  write.key = {k.data, k.Stride(0), k.Stride(1)};
  write.value = {v.data, v.Stride(0), v.Stride(1)};
  write.key_cache = kc.data;
  write.value_cache = vc.data;
  write.slots = slots.Data<int64_t>();
  if (write.cache_type != write.type) {
    const TensorView ks = call.View("k_scale", k_scale), vs = call.View("v_scale", v_scale);
    write.k_scale = CacheScales(ks, k.Size(1));
    write.v_scale = CacheScales(vs, k.Size(1));
  }
  write.tokens = Tokens(slots, k);
  write.heads = k.Size(1);
  write.head_size = k.Size(2);
  write.stream = call.Stream();
  return write;
}

void reshape_and_cache(const Tensor& key, const Tensor& value, const Tensor& key_cache,
                       const Tensor& value_cache, const Tensor& slot_mapping,
                       const std::string& kv_cache_dtype, const Tensor& k_scale,
                       const Tensor& v_scale) {
  const DeviceCall call("reshape_and_cache", key);
  const TensorView k = call.View("key", key), v = call.View("value", value);
  const TensorView kc = call.View("key_cache", key_cache);
  const TensorView vc = call.View("value_cache", value_cache);
  device::CacheWrite write = Write(call, k, v, kc, vc, call.View("slot_mapping", slot_mapping),
                                   kv_cache_dtype, k_scale, v_scale);
  CheckDim(kc, 5);
  const int64_t x = 16 / static_cast<int64_t>(key_cache.element_size()), size = write.head_size;
  if (size % x != 0) {
    Fail(k, "has head size " + std::to_string(size) + ", expected a multiple of " +
                std::to_string(x) + ", the cache's elements in 16 bytes");
  }
  write.block_size = kc.Size(3);
  write.num_slots = kc.Size(0) * write.block_size;
  CheckShape(kc, {-1, write.heads, size / x, write.block_size, x},
             "[blocks, heads, head_size / x, block_size, x]");
  CheckShape(vc, {kc.Size(0), write.heads, size, write.block_size},
             "[blocks, heads, head_size, block_size]");
  CheckContiguous(kc);
  CheckContiguous(vc);
  device::ReshapeAndCache(write);
}

void reshape_and_cache_flash(const Tensor& key, const Tensor& value, const Tensor& key_cache,
                             const Tensor& value_cache, const Tensor& slot_mapping,
                             const std::string& kv_cache_dtype, const Tensor& k_scale,
                             const Tensor& v_scale) {
  const DeviceCall call("reshape_and_cache_flash", key);
  const TensorView k = call.View("key", key), v = call.View("value", value);
  const TensorView kc = call.View("key_cache", key_cache);
  const TensorView vc = call.View("value_cache", value_cache);
  device::CacheWrite write = Write(call, k, v, kc, vc, call.View("slot_mapping", slot_mapping),
                                   kv_cache_dtype, k_scale, v_scale);
  CheckShape(kc, {-1, -1, write.heads, write.head_size}, "[blocks, block_size, heads, head_size]");
  CheckSameShape(vc, kc);
  CheckLastContiguous(kc);
  CheckLastContiguous(vc);
  write.block_size = kc.Size(1);
  write.num_slots = kc.Size(0) * write.block_size;
  device::ReshapeAndCacheFlash(write, {kc.Stride(0), kc.Stride(1), kc.Stride(2)},
                               {vc.Stride(0), vc.Stride(1), vc.Stride(2)});
}

void concat_and_cache_mla(const Tensor& kv_c, const Tensor& k_pe, const Tensor& kv_cache,
                          const Tensor& slot_mapping, const std::string& kv_cache_dtype,
                          const Tensor& scale) {
  const DeviceCall call("concat_and_cache_mla", kv_c);
  const TensorView latent = call.View("kv_c", kv_c), rope = call.View("k_pe", k_pe);
  const TensorView cache = call.View("kv_cache", kv_cache);
  const TensorView slots = call.View("slot_mapping", slot_mapping);
  CheckDim(latent, 2);
  CheckLastContiguous(latent);
  CheckSameType(rope, latent);
  CheckShape(rope, {latent.Size(0), -1}, "[tokens, rope_size]");
  CheckLastContiguous(rope);
  device::MlaWrite write{};
  write.op = call.Op();
  write.type = DeviceFloatType(latent);
  write.cache_type = CacheType(call, cache, latent, kv_cache_dtype);
  CheckShape(cache, {-1, -1, latent.Size(1) + rope.Size(1)},
             "[blocks, block_size, rank + rope_size]");
  CheckLastContiguous(cache);
  if (write.cache_type != write.type) write.scale = DeviceScalar(call.View("scale", scale));
  write.latent = latent.data;
  write.rope = rope.data;
  write.latent_stride = latent.Stride(0);
  write.rope_stride = rope.Stride(0);
  write.cache = cache.data;
  write.block_stride = cache.Stride(0);
  write.slot_stride = cache.Stride(1);
  write.slots = slots.Data<int64_t>();
  write.tokens = Tokens(slots, latent);
  write.rank = latent.Size(1);
  write.rope_size = rope.Size(1);
  write.block_size = cache.Size(1);
  write.num_slots = cache.Size(0) * cache.Size(1);
  write.stream = call.Stream();
  device::ConcatAndCacheMla(write);
}

const int32_t* Ints(const TensorView& tensor, int64_t size, const char* meaning) {
  CheckType(tensor, ScalarType::Int);
  CheckShape(tensor, {size}, meaning);
  CheckContiguous(tensor);
  return tensor.Data<int32_t>();
}

// What both gathers share; the types are the caller's.
device::Gather GatherOf(const DeviceCall& call, const TensorView& cache, const TensorView& dst,
                        const TensorView& table, const TensorView& starts, int64_t seqs,
                        const std::optional<Tensor>& seq_starts) {
  CheckDim(cache, 3);
  CheckLastContiguous(cache);
  CheckShape(dst, {-1, cache.Size(2)}, "[tokens, width of the cache]");
  CheckLastContiguous(dst);
  CheckType(table, ScalarType::Int);
  CheckDim(table, 2);
  CheckLastContiguous(table);
  if (seqs < 1 || seqs > table.Size(0)) {
    Fail(table, "has " + std::to_string(table.Size(0)) + " rows, expected one for each of " +
                    std::to_string(seqs) + " sequences");
  }
  device::Gather gather{};
  gather.op = call.Op();
  gather.cache = cache.data;
  gather.block_stride = cache.Stride(0);
  gather.slot_stride = cache.Stride(1);
  gather.dst = dst.data;
  gather.dst_stride = dst.Stride(0);
  gather.block_table = table.Data<int32_t>();
  gather.table_stride = table.Stride(0);
  gather.max_blocks = table.Size(1);
  gather.cu_seq_lens = Ints(starts, seqs + 1, "[seqs + 1]");
  if (seq_starts) {
    gather.seq_starts = Ints(call.View("seq_starts", *seq_starts), seqs, "[seqs]");
  }
  gather.seqs = seqs;
  gather.width = cache.Size(2);
  gather.block_size = cache.Size(1);
  gather.num_blocks = cache.Size(0);
  gather.stream = call.Stream();
  return gather;
}

void gather_and_maybe_dequant_cache(const Tensor& src_cache, const Tensor& dst,
                                    const Tensor& block_table, const Tensor& cu_seq_lens,
                                    const Tensor& token_to_seq, int64_t num_tokens,
                                    const std::string& kv_cache_dtype, const Tensor& scale,
                                    const std::optional<Tensor>& seq_starts) {
  const DeviceCall call("gather_and_maybe_dequant_cache", src_cache);
  const TensorView cache = call.View("src_cache", src_cache), out = call.View("dst", dst);
  const TensorView starts = call.View("cu_seq_lens", cu_seq_lens);
  CheckDim(starts, 1);
  device::Gather gather = GatherOf(call, cache, out, call.View("block_table", block_table), starts,
                                   starts.Size(0) - 1, seq_starts);
  if (num_tokens < 0 || num_tokens > out.Size(0)) {
    Fail(out, "has " + std::to_string(out.Size(0)) +
                  " rows, expected num_tokens = " + std::to_string(num_tokens) + " or more");
  }
  gather.tokens = num_tokens;
  const TensorView seq_of = call.View("token_to_seq", token_to_seq);
  CheckType(seq_of, ScalarType::Int);
  CheckDim(seq_of, 1);
  CheckContiguous(seq_of);
  if (seq_of.Size(0) < num_tokens) {
    Fail(seq_of, "has " + std::to_string(seq_of.Size(0)) +
                     " entries, expected num_tokens = " + std::to_string(num_tokens));
  }
  gather.token_to_seq = seq_of.Data<int32_t>();
  gather.type = DeviceFloatType(out);
  gather.cache_type = CacheType(call, cache, out, kv_cache_dtype);
  if (gather.cache_type != gather.type) gather.scale = DeviceScalar(call.View("scale", scale));
  device::GatherCache(gather);
}

void cp_gather_cache(const Tensor& src_cache, const Tensor& dst, const Tensor& block_table,
                     const Tensor& cu_seq_lens, int64_t batch_size,
                     const std::optional<Tensor>& seq_starts) {
  const DeviceCall call("cp_gather_cache", src_cache);
  const TensorView cache = call.View("src_cache", src_cache), out = call.View("dst", dst);
  CheckSameType(out, cache);
  device::Gather gather = GatherOf(call, cache, out, call.View("block_table", block_table),
                                   call.View("cu_seq_lens", cu_seq_lens), batch_size, seq_starts);
  gather.tokens = out.Size(0);
  gather.type = gather.cache_type =
      src_cache.element_size() == 1 ? device::Type::kInt8 : DeviceFloatType(out);
  device::GatherCache(gather);
}

void convert_fp8(const Tensor& dst_cache, const Tensor& src_cache, double scale,
                 const std::string& kv_cache_dtype) {
  const DeviceCall call("convert_fp8", src_cache);
  const TensorView dst = call.View("dst_cache", dst_cache), src = call.View("src_cache", src_cache);
  CheckSameShape(dst, src);
  CheckContiguous(dst);
  CheckContiguous(src);
  if (kv_cache_dtype == "auto")
    call.Fail("kv_cache_dtype is 'auto', expected 'fp8', 'fp8_e4m3' or 'fp8_e5m2'");
  const bool decode = src_cache.element_size() == 1;
  const TensorView& wide = decode ? dst : src;
  const device::Type type = DeviceFloatType(wide);
  const device::Type fp8 = CacheType(call, decode ? src : dst, wide, kv_cache_dtype);
  device::ConvertFp8(call.Op(), dst.data, decode ? type : fp8, src.data, decode ? fp8 : type,
                     src.Numel(), static_cast<float>(scale), call.Stream());
}

// One side may lie on the CPU; pairs do, so that every copy is queued without waiting for a device.
void swap_blocks(const Tensor& src, const Tensor& dst, int64_t block_size_in_bytes,
                 const Tensor& block_mapping) {
  constexpr const char* kOp = "swap_blocks";
  int32_t device = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(src.get(), &device));
  const DeviceCall call(kOp, device == aoti_torch_device_type_cpu() ? dst : src);
  const TensorView s = ViewOnAnyDevice(kOp, "src", src), d = ViewOnAnyDevice(kOp, "dst", dst);
  const TensorView pairs = HostView(kOp, "block_mapping", block_mapping);
  CheckContiguous(s);
  CheckContiguous(d);
  CheckBlockPairs(pairs, s.Numel() * static_cast<int64_t>(src.element_size()),
                  d.Numel() * static_cast<int64_t>(dst.element_size()), block_size_in_bytes);
  device::SwapBlocks(kOp, s.data, d.data, block_size_in_bytes, pairs.Data<int64_t>(), pairs.Size(0),
                     call.Stream());
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C_cache_ops, m) {
  m.def("convert_fp8(Tensor! dst_cache, Tensor src_cache, float scale, str kv_cache_dtype) -> ()");
  m.def(
      "gather_and_maybe_dequant_cache(Tensor src_cache, Tensor! dst, Tensor block_table, "
      "Tensor cu_seq_lens, Tensor token_to_seq, int num_tokens, str kv_cache_dtype, Tensor scale, "
      "Tensor? seq_starts) -> ()");
  m.def(
      "cp_gather_cache(Tensor src_cache, Tensor! dst, Tensor block_table, Tensor cu_seq_lens, "
      "int batch_size, Tensor? seq_starts) -> ()");
}

VLLM_DEVICE_KERNELS(_C_cache_ops, m) {
  m.impl("swap_blocks", TORCH_BOX(&swap_blocks));
  m.impl("reshape_and_cache", TORCH_BOX(&reshape_and_cache));
  m.impl("reshape_and_cache_flash", TORCH_BOX(&reshape_and_cache_flash));
  m.impl("concat_and_cache_mla", TORCH_BOX(&concat_and_cache_mla));
  m.impl("convert_fp8", TORCH_BOX(&convert_fp8));
  m.impl("gather_and_maybe_dequant_cache", TORCH_BOX(&gather_and_maybe_dequant_cache));
  m.impl("cp_gather_cache", TORCH_BOX(&cp_gather_cache));
}

}  // namespace vllm
