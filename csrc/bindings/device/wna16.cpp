#include "bindings/device/wna16.h"

#include <torch/csrc/stable/ops.h>

namespace vllm {

const uint32_t* Words(const TensorView& view, std::initializer_list<int64_t> shape,
                      const char* meaning) {
  CheckType(view, ScalarType::Int);
  CheckShape(view, shape, meaning);
  CheckContiguous(view);
  if (!device::IsAligned(view.data, 16)) Fail(view, "does not start at a multiple of 16 bytes");
  return view.Data<uint32_t>();
}

const int32_t* RowNumbers(const TensorView& view, int64_t rows) {
  if (view.Numel() == 0) return nullptr;
  CheckType(view, ScalarType::Int);
  CheckShape(view, {rows}, "[k], or empty");
  CheckContiguous(view);
  return view.Data<int32_t>();
}

namespace {

void CheckSixteenBits(const TensorView& view) {
  if (!view.Is(ScalarType::BFloat16)) CheckType(view, ScalarType::Half);
}

}  // namespace

void CheckActivations(const TensorView& a) {
  CheckDim(a, 2);
  CheckSixteenBits(a);
  CheckLastContiguous(a);
  if (a.Size(1) % 8 != 0 || a.Stride(0) % 8 != 0 || !device::IsAligned(a.data, 16)) {
    Fail(a, "has rows that are not a multiple of 16 bytes, or do not start at one");
  }
}

void SetScales(device::QuantizedMatrix& weight, const TensorView& scales, int64_t k) {
  CheckDim(scales, 2);
  CheckSixteenBits(scales);
  CheckContiguous(scales);
  const int64_t groups = scales.Size(0), n = scales.Size(1);
  if (groups < 1 || k % groups != 0 || n < 8 || n % 8 != 0) {
    Fail(scales, "has shape " + ShapeString(scales) +
                     ", expected [groups, n] with groups that divide k = " + std::to_string(k) +
                     " and n a multiple of 8");
  }
  if (k > INT32_MAX / 8 || n > INT32_MAX / 8) Fail(scales, "is of a matrix too large for one op");
  weight.k = static_cast<int>(k);
  weight.n = static_cast<int>(n);
  weight.groups = static_cast<int>(groups);
  weight.group_size = static_cast<int>(k / groups);
  weight.scales = scales.data;
  weight.scale_factor = 1.0f;
}

device::CodeType UnsignedCodes(const DeviceCall& call, int64_t bits) {
  switch (bits) {
    case 2:
      return device::CodeType::kUint2;
    case 3:
      return device::CodeType::kUint3;
    case 4:
      return device::CodeType::kUint4;
    case 8:
      return device::CodeType::kUint8;
    default:
      call.Fail("weights have " + std::to_string(bits) + " bits, expected 2, 3, 4 or 8");
  }
}

Tensor WithColumns(const DeviceCall& call, const Tensor& a, const int32_t* permutation) {
  if (!permutation) return a;
  const TensorView view = call.View("a", a);
  Tensor out = torch::stable::new_empty(a, {view.Size(0), view.Size(1)});
  device::GatherColumnsOf({call.Op(), view.data, view.Stride(0), permutation,
                           call.View("a", out).data, view.Size(0), static_cast<int>(view.Size(1)),
                           call.Stream()});
  return out;
}

Tensor Dequantized(const DeviceCall& call, const Tensor& like,
                   const device::QuantizedMatrix& weight) {
  Tensor out = torch::stable::new_empty(like, {weight.k, weight.n});
  const TensorView view = call.View("weight", out);
  device::DequantizeMatrix({call.Op(), weight, view.data, DeviceFloatType(view), call.Stream()});
  return out;
}

void Multiply(const DeviceCall& call, const Tensor& a, const device::QuantizedMatrix& weight,
              const void* bias, Tensor& out) {
  const TensorView x = call.View("a", a), to = call.View("out", out);
  const device::Type type = DeviceFloatType(x);
  if (device::CanMultiplyQuantized(weight, x.Size(0))) {
    device::MultiplyQuantized(
        {call.Op(), x.data, x.Stride(0), to.data, bias, weight, x.Size(0), type, call.Stream()});
    return;
  }
  torch::stable::copy_(out, torch::stable::matmul(a, Dequantized(call, a, weight)));
  if (bias) {
    device::AddMarlinBias({call.Op(), to.data, bias, x.Size(0), weight.n, type, call.Stream()});
  }
}

namespace {

// b_g_idx is the permutation that gptq_shuffle was given where use_exllama is set, else each row's
// group; either may be empty.
Tensor gptq_gemm(const Tensor& a, const Tensor& b_q_weight, const Tensor& b_gptq_qzeros,
                 const Tensor& b_gptq_scales, const Tensor& b_g_idx, bool use_exllama,
                 bool use_v2_format, int64_t bit) {
  const DeviceCall call("gptq_gemm", a);
  const TensorView x = call.View("a", a), scales = call.View("b_gptq_scales", b_gptq_scales);
  device::QuantizedMatrix weight{};
  CheckActivations(x);
  CheckSameType(scales, x);
  SetScales(weight, scales, x.Size(1));
  weight.code_type = UnsignedCodes(call, bit);
  const int64_t k = weight.k, n = weight.n;
  if (k * bit % 32 != 0 || n * bit % 32 != 0) {
    call.Fail("k = " + std::to_string(k) + " and n = " + std::to_string(n) + " of " +
              std::to_string(bit) + " bits do not fill words of 32 bits");
  }
  weight.codes = Words(call.View("b_q_weight", b_q_weight), {k * bit / 32, n}, "[k * bit / 32, n]");
  weight.zeros = Words(call.View("b_gptq_qzeros", b_gptq_qzeros), {weight.groups, n * bit / 32},
                       "[groups, n * bit / 32]");
  weight.zero_layout = device::ZeroLayout::kStream;
  weight.zero = use_v2_format ? 0.0f : 1.0f;
  const int32_t* rows = RowNumbers(call.View("b_g_idx", b_g_idx), k);
  if (!use_exllama) weight.group_of = rows;
  Tensor out = torch::stable::new_empty(a, {x.Size(0), n});
  Multiply(call, use_exllama ? WithColumns(call, a, rows) : a, weight, nullptr, out);
  return out;
}

// Puts rows of a group side by side; without q_perm they are.
void gptq_shuffle(const Tensor& q_weight, const Tensor& q_perm, int64_t bit) {
  const DeviceCall call("gptq_shuffle", q_weight);
  const TensorView words = call.View("q_weight", q_weight);
  device::RepackCodes repack{};
  repack.op = call.Op();
  repack.from.code_type = UnsignedCodes(call, bit);
  repack.from.codes = Words(words, {-1, -1}, "[k * bit / 32, n]");
  const int64_t k = words.Size(0) * 32 / bit;
  repack.permutation = RowNumbers(call.View("q_perm", q_perm), k);
  if (!repack.permutation) return;
  if (k % 32 != 0) call.Fail("k is " + std::to_string(k) + ", expected a multiple of 32");
  repack.from.k = static_cast<int>(k);
  repack.from.n = static_cast<int>(words.Size(1));
  repack.stream = call.Stream();
  const Tensor before = torch::stable::clone(q_weight);
  repack.from.codes = call.View("q_weight", before).Data<uint32_t>();
  repack.out = words.Data<uint32_t>();
  device::RepackToColumns(repack);
}

device::QuantizedMatrix AwqMatrix(const DeviceCall& call, const Tensor& kernel,
                                  const TensorView& scales, const Tensor& zeros) {
  const TensorView codes = call.View("_kernel", kernel);
  CheckDim(codes, 2);
  device::QuantizedMatrix weight{};
  SetScales(weight, scales, codes.Size(0));
  weight.codes = Words(codes, {weight.k, weight.n / 8}, "[k, n / 8]");
  weight.zeros =
      Words(call.View("_zeros", zeros), {weight.groups, weight.n / 8}, "[groups, n / 8]");
  weight.code_type = device::CodeType::kUint4;
  weight.layout = device::CodeLayout::kInterleavedRows;
  weight.zero_layout = device::ZeroLayout::kInterleaved;
  return weight;
}

Tensor awq_gemm(const Tensor& in_feats, const Tensor& kernel, const Tensor& scaling_factors,
                const Tensor& zeros, int64_t /*split_k_iters*/) {
  const DeviceCall call("awq_gemm", in_feats);
  const TensorView x = call.View("_in_feats", in_feats);
  const TensorView scales = call.View("_scaling_factors", scaling_factors);
  CheckActivations(x);
  CheckSameType(scales, x);
  const device::QuantizedMatrix weight = AwqMatrix(call, kernel, scales, zeros);
  CheckShape(x, {-1, weight.k}, "[m, k]");
  Tensor out = torch::stable::new_empty(in_feats, {x.Size(0), weight.n});
  Multiply(call, in_feats, weight, nullptr, out);
  return out;
}

Tensor awq_dequantize(const Tensor& kernel, const Tensor& scaling_factors, const Tensor& zeros,
                      int64_t /*split_k_iters*/, int64_t /*thx*/, int64_t /*thy*/) {
  const DeviceCall call("awq_dequantize", kernel);
  const TensorView scales = call.View("_scaling_factors", scaling_factors);
  return Dequantized(call, scaling_factors, AwqMatrix(call, kernel, scales, zeros));
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C, m) {
  m.def(
      "gptq_gemm(Tensor a, Tensor b_q_weight, Tensor b_gptq_qzeros, Tensor b_gptq_scales, "
      "Tensor b_g_idx, bool use_exllama, bool use_v2_format, int bit) -> Tensor");
  m.def("gptq_shuffle(Tensor! q_weight, Tensor q_perm, int bit) -> ()");
  m.def(
      "awq_gemm(Tensor _in_feats, Tensor _kernel, Tensor _scaling_factors, Tensor _zeros, "
      "SymInt split_k_iters) -> Tensor");
  m.def(
      "awq_dequantize(Tensor _kernel, Tensor _scaling_factors, Tensor _zeros, "
      "SymInt split_k_iters, int thx, int thy) -> Tensor");
}

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("gptq_gemm", TORCH_BOX(&gptq_gemm));
  m.impl("gptq_shuffle", TORCH_BOX(&gptq_shuffle));
  m.impl("awq_gemm", TORCH_BOX(&awq_gemm));
  m.impl("awq_dequantize", TORCH_BOX(&awq_dequantize));
}

}  // namespace vllm
