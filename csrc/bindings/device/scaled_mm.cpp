#include "hopper/scaled_mm.h"
#include "bindings/device/scaled_product.h"

namespace vllm {
namespace {

struct Operands {
  TensorView out;
  TensorView a;
  TensorView b;
  TensorView a_scales;
  TensorView b_scales;
  device::MmOutput output;
};

Operands CheckedOperands(const DeviceCall& call, const Tensor& out, const Tensor& a,
                         const Tensor& b, const Tensor& a_scales, const Tensor& b_scales,
                         const std::optional<Tensor>& bias, bool int8_only) {
  Operands o{call.View("out", out),
             call.View("a", a),
             call.View("b", b),
             call.View("a_scales", a_scales),
             call.View("b_scales", b_scales),
             {}};
  const bool int8 = int8_only || o.a.Is(ScalarType::Char);
  CheckScaledMm(o.out, o.a, o.b, int8 ? ScalarType::Char : ScalarType::Float8_e4m3fn);
  o.output = ProductOutput(call, o.out, bias);
  return o;
}

device::ScaledMm RowScaled(const DeviceCall& call, const Operands& o) {
  device::ScaledMm mm{};
  mm.op = call.Op();
  mm.m = o.a.Size(0);
  mm.n = o.b.Size(1);
  mm.k = o.a.Size(1);
  mm.a_stride = o.a.Stride(0);
  mm.b_stride = o.b.Stride(1);
  mm.a = ByteRows(o.a, mm.k, mm.a_stride);
  mm.b = ByteRows(o.b, mm.k, mm.b_stride);
  SetRowScales(mm, o.a_scales, o.b_scales);
  mm.out = o.output;
  mm.type = o.a.Is(ScalarType::Char) ? device::Type::kInt8 : device::Type::kFp8E4M3;
  mm.stream = call.Stream();
  return mm;
}

void RunRowScaled(const device::ScaledMm& mm) {
#if defined(VLLM_HOPPER)
  if (hopper::RunScaledMm(mm)) return;
#endif
  device::RunScaledMm(mm);
}

// [rows of a, blocks of k] and [blocks of k, blocks of n], with any strides.
void RunBlockScaled(const DeviceCall& call, const Operands& o) {
  const int64_t m = o.a.Size(0), n = o.b.Size(1), k = o.a.Size(1);
  const int64_t k_blocks = (k + device::kScaleBlock - 1) / device::kScaleBlock;
  const int64_t n_blocks = (n + device::kScaleBlock - 1) / device::kScaleBlock;
  CheckType(o.a_scales, ScalarType::Float);
  CheckShape(o.a_scales, {m, k_blocks}, "[rows of a, k / 128]");
  CheckType(o.b_scales, ScalarType::Float);
  CheckShape(o.b_scales, {k_blocks, n_blocks}, "[k / 128, columns of b / 128]");
  device::BlockScaledMm mm{};
  mm.op = call.Op();
  mm.m = mm.expected_rows = m;
  mm.n = n;
  mm.k = k;
  mm.a_stride = o.a.Stride(0);
  mm.b_stride = o.b.Stride(1);
  mm.a = ByteRows(o.a, k, mm.a_stride);
  mm.b = ByteRows(o.b, k, mm.b_stride);
  mm.a_scales = {o.a_scales.Data<float>(), o.a_scales.Stride(0), o.a_scales.Stride(1), 0};
  mm.b_scales = {o.b_scales.Data<float>(), o.b_scales.Stride(1), o.b_scales.Stride(0), 0};
  mm.groups = 1;
  mm.out = o.output;
  mm.stream = call.Stream();
  device::RunBlockScaledMm(mm);
}

bool HasOneOrEach(const TensorView& scales, int64_t count) {
  return scales.Numel() == 1 || scales.Numel() == count;
}

void cutlass_scaled_mm(const Tensor& out, const Tensor& a, const Tensor& b, const Tensor& a_scales,
                       const Tensor& b_scales, const std::optional<Tensor>& bias) {
  const DeviceCall call("cutlass_scaled_mm", a);
  const Operands o = CheckedOperands(call, out, a, b, a_scales, b_scales, bias, false);
  const bool by_row =
      HasOneOrEach(o.a_scales, o.a.Size(0)) && HasOneOrEach(o.b_scales, o.b.Size(1));
  if (!by_row && o.a_scales.dim == 2 && o.b_scales.dim == 2 && !o.a.Is(ScalarType::Char)) {
    return RunBlockScaled(call, o);
  }
  RunRowScaled(RowScaled(call, o));
}

void cutlass_scaled_mm_azp(const Tensor& out, const Tensor& a, const Tensor& b,
                           const Tensor& a_scales, const Tensor& b_scales, const Tensor& azp_adj,
                           const std::optional<Tensor>& azp, const std::optional<Tensor>& bias) {
  const DeviceCall call("cutlass_scaled_mm_azp", a);
  device::ScaledMm mm =
      RowScaled(call, CheckedOperands(call, out, a, b, a_scales, b_scales, bias, true));
  mm.adjust = Values<int32_t>(call.View("azp_adj", azp_adj), ScalarType::Int, mm.n);
  if (azp) mm.zero_points = Values<int32_t>(call.View("azp", *azp), ScalarType::Int, mm.m);
  RunRowScaled(mm);
}

// Whether there are instructions that multiply or widen e4m3; elsewhere kernels take many for it.
bool cutlass_scaled_mm_supports_fp8(int64_t cuda_device_capability) {
#if defined(USE_ROCM)
  return false;
#else
  return cuda_device_capability >= 89;
#endif
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C, m) {
  m.def("cutlass_scaled_mm_supports_fp8(int cuda_device_capability) -> bool");
  m.def("cutlass_scaled_mm_supports_block_fp8(int cuda_device_capability) -> bool");
}

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("cutlass_scaled_mm", TORCH_BOX(&cutlass_scaled_mm));
  m.impl("cutlass_scaled_mm_azp", TORCH_BOX(&cutlass_scaled_mm_azp));
}

// No tensor among the arguments says which device is meant.
VLLM_DEVICE_FREE_KERNELS(_C, m) {
  m.impl("cutlass_scaled_mm_supports_fp8", TORCH_BOX(&cutlass_scaled_mm_supports_fp8));
  m.impl("cutlass_scaled_mm_supports_block_fp8", TORCH_BOX(&cutlass_scaled_mm_supports_fp8));
}

}  // namespace vllm
