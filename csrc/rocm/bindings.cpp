// torch.ops._rocm_C: what programs for AMD GPUs call for a few tokens at a time. The number of
// compute units, of rows in a block and the matrix instructions to take are theirs to say
// elsewhere: these kernels choose for themselves.
#include <torch/csrc/stable/ops.h>

#include "bindings/device/attention.h"
#include "bindings/device/paged_arguments.h"
#include "bindings/scaled_mm.h"
#include "rocm/skinny_gemm.h"

namespace vllm {
namespace {

// a, the weight, is [m, k], b [n, k]; both of one type.
device::SkinnyGemm CheckedGemm(const DeviceCall& call, const TensorView& a, const TensorView& b) {
  CheckDim(a, 2);
  CheckLastContiguous(a);
  CheckSameType(b, a);
  CheckShape(b, {-1, a.Size(1)}, "[tokens, columns of in_a]");
  CheckLastContiguous(b);
  device::SkinnyGemm gemm{};
  gemm.op = call.Op();
  gemm.a = a.data;
  gemm.b = b.data;
  gemm.m = a.Size(0);
  gemm.n = b.Size(0);
  gemm.k = a.Size(1);
  gemm.a_stride = a.Stride(0);
  gemm.b_stride = b.Stride(0);
  gemm.stream = call.Stream();
  return gemm;
}

// Rows of `size` bytes an element, read in vectors of 16 bytes.
void CheckVectorRows(const TensorView& tensor, int64_t size) {
  ByteRows(tensor, tensor.Size(1) * size, tensor.Stride(0) * size);
}

// [n, m] of the operands' type, bf16 or f16.
Tensor RunHalves(const DeviceCall& call, const Tensor& in_a, const Tensor& in_b,
                 const std::optional<Tensor>& in_bias, int64_t most_tokens) {
  const TensorView a = call.View("in_a", in_a), b = call.View("in_b", in_b);
  if (!a.Is(ScalarType::BFloat16)) CheckType(a, ScalarType::Half);
  device::SkinnyGemm gemm = CheckedGemm(call, a, b);
  if (gemm.n > most_tokens) {
    Fail(b, "has " + std::to_string(gemm.n) + " rows, expected at most " +
                std::to_string(most_tokens));
  }
  CheckVectorRows(a, 2);
  CheckVectorRows(b, 2);
  Tensor out = torch::stable::new_empty(in_b, {gemm.n, gemm.m});
  if (in_bias) gemm.bias = CheckedBias(call.View("in_bias", *in_bias), call.View("out", out));
  gemm.out = out.data_ptr();
  gemm.type = gemm.out_type = DeviceFloatType(a);
  device::RunSkinnyGemm(gemm);
  return out;
}

Tensor LLMM1(const Tensor& in_a, const Tensor& in_b, int64_t /*rows_per_block*/) {
  return RunHalves(DeviceCall("LLMM1", in_a), in_a, in_b, std::nullopt, 1);
}

Tensor wvSplitK(const Tensor& in_a, const Tensor& in_b, const std::optional<Tensor>& in_bias,
                int64_t /*CuCount*/) {
  return RunHalves(DeviceCall("wvSplitK", in_a), in_a, in_b, in_bias, INT32_MAX);
}

void wvSplitKQ(const Tensor& in_a, const Tensor& in_b, const std::optional<Tensor>& in_bias,
               const Tensor& out_c, const Tensor& scale_a, const Tensor& scale_b,
               int64_t /*CuCount*/) {
  const DeviceCall call("wvSplitKQ", in_a);
  const TensorView a = call.View("in_a", in_a), b = call.View("in_b", in_b);
  const TensorView out = call.View("out_c", out_c);
  CheckType(a, ScalarType::Float8_e4m3fn);
  device::SkinnyGemm gemm = CheckedGemm(call, a, b);
  CheckVectorRows(a, 1);
  CheckVectorRows(b, 1);
  if (!out.Is(ScalarType::BFloat16)) CheckType(out, ScalarType::Half);
  CheckShape(out, {gemm.n, gemm.m}, "[tokens, rows of in_a]");
  CheckContiguous(out);
  if (in_bias) gemm.bias = CheckedBias(call.View("in_bias", *in_bias), out);
  gemm.a_scale = DeviceScalar(call.View("scale_a", scale_a));
  gemm.b_scale = DeviceScalar(call.View("scale_b", scale_b));
  gemm.out = out.data;
  gemm.type = device::Type::kFp8E4M3;
  gemm.out_type = DeviceFloatType(out);
  device::RunSkinnyGemm(gemm);
}

void paged_attention(const Tensor& out, const Tensor& exp_sums, const Tensor& max_logits,
                     const Tensor& tmp_out, const Tensor& query, const Tensor& key_cache,
                     const Tensor& value_cache, int64_t num_kv_heads, double scale,
                     const Tensor& block_tables, const Tensor& seq_lens,
                     const std::optional<Tensor>& query_start_loc, int64_t block_size,
                     int64_t max_seq_len, const std::optional<Tensor>& alibi_slopes,
                     const std::string& kv_cache_dtype, const Tensor& k_scale,
                     const Tensor& v_scale, const std::optional<Tensor>& fp8_out_scale,
                     const std::string& /*mfma_type*/) {
  const DeviceCall call("paged_attention", query);
  RefuseGiven(call, {{"fp8_out_scale", fp8_out_scale.has_value()}});
  const PagedArguments given{
      out,      query,      key_cache,    value_cache,    num_kv_heads, scale,  block_tables,
      seq_lens, block_size, alibi_slopes, kv_cache_dtype, k_scale,      v_scale};
  device::PagedAttention a = CheckedAttention(call, given, query_start_loc);
  SetPartitions(a, call, given, exp_sums, max_logits, tmp_out, max_seq_len);
  device::RunPagedAttention(a);
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_rocm_C, m) {
  m.def("LLMM1(Tensor in_a, Tensor in_b, int rows_per_block) -> Tensor");
  m.def("wvSplitK(Tensor in_a, Tensor in_b, Tensor? in_bias, int CuCount) -> Tensor");
  m.def(
      "wvSplitKQ(Tensor in_a, Tensor in_b, Tensor? in_bias, Tensor! out_c, Tensor scale_a, "
      "Tensor scale_b, int CuCount) -> ()");
  m.def(
      "paged_attention(Tensor! out, Tensor exp_sums, Tensor max_logits, Tensor tmp_out, "
      "Tensor query, Tensor key_cache, Tensor value_cache, int num_kv_heads, float scale, "
      "Tensor block_tables, Tensor seq_lens, Tensor? query_start_loc, int block_size, "
      "int max_seq_len, Tensor? alibi_slopes, str kv_cache_dtype, Tensor k_scale, Tensor v_scale, "
      "Tensor? fp8_out_scale, str mfma_type) -> ()");
}

VLLM_DEVICE_KERNELS(_rocm_C, m) {
  m.impl("LLMM1", TORCH_BOX(&LLMM1));
  m.impl("wvSplitK", TORCH_BOX(&wvSplitK));
  m.impl("wvSplitKQ", TORCH_BOX(&wvSplitKQ));
  m.impl("paged_attention", TORCH_BOX(&paged_attention));
}

}  // namespace vllm
