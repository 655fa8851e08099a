// The ops of the Marlin family (Frantar et al., 2024) over this library's kernels: repacked codes
// are streams of bits down the columns in the shape that Marlin's have; scales, zeros and biases
// come in Marlin's order of columns.
#include <torch/csrc/stable/ops.h>

#include <cmath>

#include "bindings/device/wna16.h"

namespace vllm {
namespace {

// [k / 16, n * bits / 2] words.
Tensor RepackedLike(const Tensor& words, int64_t k, int64_t n, int64_t bits) {
  return torch::stable::new_empty(words, {k / 16, n * bits / 2});
}

void CheckRepack(const DeviceCall& call, int64_t k, int64_t n, int64_t bits, bool is_a_8bit) {
  if (is_a_8bit) call.Fail("is_a_8bit is set, expected activations of 16 bits");
  if (bits != 4 && bits != 8) {
    call.Fail("num_bits is " + std::to_string(bits) + ", expected 4 or 8");
  }
  if (k < 32 || k % 32 != 0 || n < 64 || n % 64 != 0 || k > INT32_MAX / 8 || n > INT32_MAX / 8) {
    call.Fail("size_k and size_n are " + std::to_string(k) + " and " + std::to_string(n) +
              ", expected multiples of 32 and of 64");
  }
}

device::RepackCodes Repack(const DeviceCall& call, const Tensor& out, int64_t k, int64_t n,
                           int64_t bits) {
  device::RepackCodes repack{};
  repack.op = call.Op();
  repack.from.k = static_cast<int>(k);
  repack.from.n = static_cast<int>(n);
  repack.from.code_type = UnsignedCodes(call, bits);
  repack.out = call.View("out", out).Data<uint32_t>();
  repack.stream = call.Stream();
  return repack;
}

Tensor gptq_marlin_repack(const Tensor& b_q_weight, const Tensor& perm, int64_t size_k,
                          int64_t size_n, int64_t num_bits, bool is_a_8bit) {
  const DeviceCall call("gptq_marlin_repack", b_q_weight);
  CheckRepack(call, size_k, size_n, num_bits, is_a_8bit);
  Tensor out = RepackedLike(b_q_weight, size_k, size_n, num_bits);
  device::RepackCodes repack = Repack(call, out, size_k, size_n, num_bits);
  repack.from.codes = Words(call.View("b_q_weight", b_q_weight), {size_k * num_bits / 32, size_n},
                            "[size_k * num_bits / 32, size_n]");
  repack.permutation = RowNumbers(call.View("perm", perm), size_k);
  device::RepackToColumns(repack);
  return out;
}

Tensor awq_marlin_repack(const Tensor& b_q_weight, int64_t size_k, int64_t size_n, int64_t num_bits,
                         bool is_a_8bit) {
  const DeviceCall call("awq_marlin_repack", b_q_weight);
  CheckRepack(call, size_k, size_n, num_bits, is_a_8bit);
  Tensor out = RepackedLike(b_q_weight, size_k, size_n, num_bits);
  device::RepackCodes repack = Repack(call, out, size_k, size_n, num_bits);
  repack.from.layout = device::CodeLayout::kInterleavedRows;
  repack.from.codes = Words(call.View("b_q_weight", b_q_weight), {size_k, size_n * num_bits / 32},
                            "[size_k, size_n * num_bits / 32]");
  device::RepackToColumns(repack);
  return out;
}

// vLLM's numbers of element types: exponent bits, then mantissa bits << 8, sign << 16, bias << 17,
// whether values are finite only << 49, how NaN is represented << 50.
constexpr int64_t UnsignedId(int64_t bits, int64_t bias) {
  return bits << 8 | bias << 17 | int64_t{1} << 50;
}
constexpr int64_t kE4M3Id = 4 | 3 << 8 | 1 << 16 | int64_t{1} << 49 | int64_t{2} << 50;

void SetCodes(device::QuantizedMatrix& weight, const DeviceCall& call, int64_t id, bool bfloat) {
  weight.code_type = device::CodeType::kUint4;
  if (id == UnsignedId(4, 0)) return;
  if (id == UnsignedId(4, 8)) {
    weight.zero = 8.0f;
    return;
  }
  weight.code_type = device::CodeType::kUint8;
  if (id == UnsignedId(8, 0)) return;
  if (id == UnsignedId(8, 128)) {
    weight.zero = 128.0f;
    return;
  }
  if (id != kE4M3Id) {
    call.Fail("b_type_id is " + std::to_string(id) +
              ", expected that of uint4, uint4b8, uint8, uint8b128 or float8_e4m3fn");
  }
  weight.code_type = device::CodeType::kE4M3;
  // Callers fold in what the exponents' biases of e4m3 and of the activations' type differ by.
  weight.scale_factor = std::ldexp(1.0f, bfloat ? -120 : -8);
}

void SetZeros(device::QuantizedMatrix& weight, const DeviceCall& call,
              const std::optional<Tensor>& zeros) {
  const int64_t bits = device::BitsOf(weight.code_type);
  const bool wants = weight.zero == 0.0f && weight.code_type != device::CodeType::kE4M3;
  const bool given = zeros && call.View("b_zeros", *zeros).Numel() > 0;
  if (wants != given) {
    call.Fail(given ? "b_zeros is given for a type that has its own zero; leave it out"
                    : "b_zeros is missing; uint4 and uint8 need it");
  }
  if (!given) return;
  weight.zeros = Words(call.View("b_zeros", *zeros), {weight.groups, weight.n * bits / 32},
                       "[groups, size_n * bits / 32]");
  weight.zero_layout = device::ZeroLayout::kInterleaved;
  weight.zero_order = device::ColumnOrder::kMarlinGroups;
}

const void* Bias(const DeviceCall& call, const std::optional<Tensor>& bias, const TensorView& a,
                 int64_t n) {
  if (!bias) return nullptr;
  const TensorView view = call.View("b_bias", *bias);
  CheckSameType(view, a);
  CheckContiguous(view);
  if (view.Numel() != n) {
    Fail(view, "has " + std::to_string(view.Numel()) + " values, expected " + std::to_string(n));
  }
  return view.data;
}

Tensor marlin_gemm(const Tensor& a, const std::optional<Tensor>& c_or_none,
                   const Tensor& b_q_weight, const std::optional<Tensor>& b_bias_or_none,
                   const Tensor& b_scales, const std::optional<Tensor>& a_scales,
                   const std::optional<Tensor>& global_scale,
                   const std::optional<Tensor>& b_zeros_or_none,
                   const std::optional<Tensor>& g_idx_or_none,
                   const std::optional<Tensor>& perm_or_none, const Tensor& /*workspace*/,
                   int64_t b_type_id, int64_t size_m, int64_t size_n, int64_t size_k,
                   bool is_k_full, bool /*use_atomic_add*/, bool /*use_fp32_reduce*/,
                   bool is_zp_float) {
  const DeviceCall call("marlin_gemm", a);
  const TensorView x = call.View("a", a), scales = call.View("b_scales", b_scales);
  if (a_scales || global_scale || is_zp_float) {
    call.Fail("a_scales, global_scale or is_zp_float is given, expected none of them");
  }
  CheckActivations(x);
  CheckShape(x, {size_m, size_k}, "[size_m, size_k]");
  CheckSameType(scales, x);
  CheckShape(scales, {-1, size_n}, "[groups, size_n]");
  device::QuantizedMatrix weight{};
  SetScales(weight, scales, size_k);
  SetCodes(weight, call, b_type_id, x.Is(ScalarType::BFloat16));
  SetZeros(weight, call, b_zeros_or_none);
  const int64_t bits = device::BitsOf(weight.code_type);
  CheckRepack(call, size_k, size_n, bits, false);
  weight.codes = Words(call.View("b_q_weight", b_q_weight), {size_k / 16, size_n * bits / 2},
                       "[size_k / 16, size_n * bits / 2]");
  weight.scale_order =
      weight.groups > 1 ? device::ColumnOrder::kMarlinGroups : device::ColumnOrder::kMarlinChannels;
  const int32_t* permutation =
      perm_or_none ? RowNumbers(call.View("perm", *perm_or_none), size_k) : nullptr;
  // Sorted rows of a whole matrix fill their groups; those of a part of one need not.
  if (permutation && !is_k_full && g_idx_or_none) {
    weight.group_of = RowNumbers(call.View("g_idx", *g_idx_or_none), size_k);
  }
  Tensor out = c_or_none ? *c_or_none : torch::stable::new_empty(a, {size_m, size_n});
  const TensorView to = call.View("c", out);
  CheckSameType(to, x);
  CheckShape(to, {size_m, size_n}, "[size_m, size_n]");
  CheckContiguous(to);
  Multiply(call, WithColumns(call, a, permutation), weight, Bias(call, b_bias_or_none, x, size_n),
           out);
  return out;
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C, m) {
  m.def(
      "gptq_marlin_repack(Tensor b_q_weight, Tensor perm, SymInt size_k, SymInt size_n, "
      "int num_bits, bool is_a_8bit) -> Tensor");
  m.def(
      "awq_marlin_repack(Tensor b_q_weight, SymInt size_k, SymInt size_n, int num_bits, "
      "bool is_a_8bit) -> Tensor");
  m.def(
      "marlin_gemm(Tensor a, Tensor? c_or_none, Tensor b_q_weight, Tensor? b_bias_or_none, "
      "Tensor b_scales, Tensor? a_scales, Tensor? global_scale, Tensor? b_zeros_or_none, "
      "Tensor? g_idx_or_none, Tensor? perm_or_none, Tensor workspace, int b_type_id, "
      "SymInt size_m, SymInt size_n, SymInt size_k, bool is_k_full, bool use_atomic_add, "
      "bool use_fp32_reduce, bool is_zp_float) -> Tensor");
}

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("gptq_marlin_repack", TORCH_BOX(&gptq_marlin_repack));
  m.impl("awq_marlin_repack", TORCH_BOX(&awq_marlin_repack));
  m.impl("marlin_gemm", TORCH_BOX(&marlin_gemm));
}

}  // namespace vllm
