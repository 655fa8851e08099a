#include "cpu/scaled_quant.h"

#include <optional>

#include "bindings/recording.h"
#include "bindings/scaled_mm.h"

namespace vllm {
namespace {

ScaledQuantArgs ArgsOf(const char* op, const Tensor& result, const Tensor& input, ScalarType type) {
  const TensorView x = View(op, "input", input), out = View(op, "result", result);
  CheckType(out, type);
  CheckSameShape(out, x);
  ScaledQuantArgs args{};
  args.dtype = FloatType(x);
  args.input = x.data;
  args.out = out.data;
  args.input_rows = Rows(x);
  args.out_rows = Rows(out);
  args.size = x.Size(-1);
  args.fp8 = type == ScalarType::Float8_e4m3fn;
  return args;
}

void static_scaled_fp8_quant(const Tensor& result, const Tensor& input, const Tensor& scale) {
  const char* op = "static_scaled_fp8_quant";
  ScaledQuantArgs args = ArgsOf(op, result, input, ScalarType::Float8_e4m3fn);
  args.scales = Values<float>(View(op, "scale", scale), ScalarType::Float, 1);
  Launch([args] { QuantizeStatic(args); });
}

void dynamic_scaled_fp8_quant(const Tensor& result, const Tensor& input, const Tensor& scale) {
  const char* op = "dynamic_scaled_fp8_quant";
  ScaledQuantArgs args = ArgsOf(op, result, input, ScalarType::Float8_e4m3fn);
  args.scales = FirstValue(View(op, "scale", scale));
  Launch([args] { QuantizePerTensor(args); });
}

void dynamic_per_token_scaled_fp8_quant(const Tensor& result, const Tensor& input,
                                        const Tensor& scale,
                                        const std::optional<Tensor>& scale_ub) {
  const char* op = "dynamic_per_token_scaled_fp8_quant";
  ScaledQuantArgs args = ArgsOf(op, result, input, ScalarType::Float8_e4m3fn);
  args.scales = Values<float>(View(op, "scale", scale), ScalarType::Float, args.input_rows.Count());
  if (scale_ub) args.upper = Values<float>(View(op, "scale_ub", *scale_ub), ScalarType::Float, 1);
  Launch([args] { QuantizePerRow(args); });
}

void static_scaled_int8_quant(const Tensor& result, const Tensor& input, const Tensor& scale,
                              const std::optional<Tensor>& azp) {
  const char* op = "static_scaled_int8_quant";
  ScaledQuantArgs args = ArgsOf(op, result, input, ScalarType::Char);
  args.scales = Values<float>(View(op, "scale", scale), ScalarType::Float, 1);
  if (azp) args.zero_points = Values<int32_t>(View(op, "azp", *azp), ScalarType::Int, 1);
  Launch([args] { QuantizeStatic(args); });
}

void dynamic_scaled_int8_quant(const Tensor& result, const Tensor& input, const Tensor& scale,
                               const std::optional<Tensor>& azp) {
  const char* op = "dynamic_scaled_int8_quant";
  ScaledQuantArgs args = ArgsOf(op, result, input, ScalarType::Char);
  const int64_t rows = args.input_rows.Count();
  args.scales = Values<float>(View(op, "scale", scale), ScalarType::Float, rows);
  if (azp) args.zero_points = Values<int32_t>(View(op, "azp", *azp), ScalarType::Int, rows);
  Launch([args] { QuantizePerRow(args); });
}

ScaledMatmulArgs MatmulArgs(const char* op, const Tensor& out_tensor, const Tensor& a_tensor,
                            const Tensor& b_tensor, const Tensor& a_scales_tensor,
                            const Tensor& b_scales_tensor,
                            const std::optional<Tensor>& bias_tensor) {
  const TensorView out = View(op, "out", out_tensor);
  const TensorView a = View(op, "a", a_tensor), b = View(op, "b", b_tensor);
  CheckScaledMm(out, a, b, ScalarType::Char);
  ScaledMatmulArgs args{};
  args.a = a.Data<int8_t>();
  args.b = b.Data<int8_t>();
  args.a_stride = a.Stride(0);
  args.b_stride = b.Stride(1);
  args.m = a.Size(0);
  args.n = b.Size(1);
  args.k = a.Size(1);
  const TensorView a_scales = View(op, "a_scales", a_scales_tensor);
  const TensorView b_scales = View(op, "b_scales", b_scales_tensor);
  args.a_scales = Values<float>(a_scales, ScalarType::Float, args.m, true);
  args.b_scales = Values<float>(b_scales, ScalarType::Float, args.n, true);
  args.a_scale_step = a_scales.Numel() == 1 ? 0 : 1;
  args.b_scale_step = b_scales.Numel() == 1 ? 0 : 1;
  args.dtype = FloatType(out);
  if (bias_tensor) args.bias = CheckedBias(View(op, "bias", *bias_tensor), out);
  args.out = out.data;
  args.out_stride = out.Stride(0);
  return args;
}

void cutlass_scaled_mm(const Tensor& out, const Tensor& a, const Tensor& b, const Tensor& a_scales,
                       const Tensor& b_scales, const std::optional<Tensor>& bias) {
  const ScaledMatmulArgs args =
      MatmulArgs("cutlass_scaled_mm", out, a, b, a_scales, b_scales, bias);
  Launch([args] { ScaledMatmul(args); });
}

void cutlass_scaled_mm_azp(const Tensor& out, const Tensor& a, const Tensor& b,
                           const Tensor& a_scales, const Tensor& b_scales, const Tensor& azp_adj,
                           const std::optional<Tensor>& azp, const std::optional<Tensor>& bias) {
  const char* op = "cutlass_scaled_mm_azp";
  ScaledMatmulArgs args = MatmulArgs(op, out, a, b, a_scales, b_scales, bias);
  args.adjust = Values<int32_t>(View(op, "azp_adj", azp_adj), ScalarType::Int, args.n);
  if (azp) args.zero_points = Values<int32_t>(View(op, "azp", *azp), ScalarType::Int, args.m);
  Launch([args] { ScaledMatmul(args); });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def("static_scaled_fp8_quant(Tensor! result, Tensor input, Tensor scale) -> ()");
  m.def("dynamic_scaled_fp8_quant(Tensor! result, Tensor input, Tensor! scale) -> ()");
  m.def(
      "dynamic_per_token_scaled_fp8_quant(Tensor! result, Tensor input, Tensor! scale, "
      "Tensor? scale_ub) -> ()");
  m.def("static_scaled_int8_quant(Tensor! result, Tensor input, Tensor scale, Tensor? azp) -> ()");
  m.def(
      "dynamic_scaled_int8_quant(Tensor! result, Tensor input, Tensor! scale, Tensor!? azp) -> "
      "()");
  m.def(
      "cutlass_scaled_mm(Tensor! out, Tensor a, Tensor b, Tensor a_scales, Tensor b_scales, "
      "Tensor? bias) -> ()");
  m.def(
      "cutlass_scaled_mm_azp(Tensor! out, Tensor a, Tensor b, Tensor a_scales, Tensor b_scales, "
      "Tensor azp_adj, Tensor? azp, Tensor? bias) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("static_scaled_fp8_quant", TORCH_BOX(&static_scaled_fp8_quant));
  m.impl("dynamic_scaled_fp8_quant", TORCH_BOX(&dynamic_scaled_fp8_quant));
  m.impl("dynamic_per_token_scaled_fp8_quant", TORCH_BOX(&dynamic_per_token_scaled_fp8_quant));
  m.impl("static_scaled_int8_quant", TORCH_BOX(&static_scaled_int8_quant));
  m.impl("dynamic_scaled_int8_quant", TORCH_BOX(&dynamic_scaled_int8_quant));
  m.impl("cutlass_scaled_mm", TORCH_BOX(&cutlass_scaled_mm));
  m.impl("cutlass_scaled_mm_azp", TORCH_BOX(&cutlass_scaled_mm_azp));
}

}  // namespace vllm
