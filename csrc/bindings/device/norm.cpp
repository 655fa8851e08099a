#include "device/norm.h"

#include "bindings/device/rows.h"
#include "bindings/norm.h"

namespace vllm {
namespace {

using device::NormQuant;

// Everything but the output and the quantisation.
device::Norm NormOf(const DeviceCall& call, const TensorView& x,
                    const std::optional<Tensor>& weight, double epsilon) {
  device::Norm norm{};
  norm.op = call.Op();
  norm.type = DeviceFloatType(x);
  norm.input = DeviceRows(x);
  if (weight) {
    const TensorView w = call.View("weight", *weight);
    norm.weight_rows = CheckNormWeight(w, x);
    norm.weight = w.data;
  }
  norm.hidden = x.Size(-1);
  norm.epsilon = static_cast<float>(epsilon);
  norm.stream = call.Stream();
  return norm;
}

void SetResidual(device::Norm& norm, const TensorView& residual, const TensorView& x) {
  CheckSameType(residual, x);
  CheckSameShape(residual, x);
  norm.residual = DeviceRows(residual);
}

void SetQuantized(device::Norm& norm, const TensorView& result, const TensorView& x,
                  NormQuant quant) {
  CheckSameShape(result, x);
  norm.out = DeviceRows(result);
  norm.out_type = QuantizedType(result);
  norm.quant = quant;
}

void rms_norm(const Tensor& result, const Tensor& input, const std::optional<Tensor>& weight,
              double epsilon) {
  const DeviceCall call("rms_norm", input);
  const TensorView x = call.View("input", input), out = call.View("result", result);
  device::Norm norm = NormOf(call, x, weight, epsilon);
  CheckSameType(out, x);
  CheckSameShape(out, x);
  norm.out = DeviceRows(out);
  device::RmsNorm(norm);
}

void fused_add_rms_norm(const Tensor& input, const Tensor& residual,
                        const std::optional<Tensor>& weight, double epsilon) {
  const DeviceCall call("fused_add_rms_norm", input);
  const TensorView x = call.View("input", input);
  device::Norm norm = NormOf(call, x, weight, epsilon);
  SetResidual(norm, call.View("residual", residual), x);
  norm.out = norm.input;
  device::RmsNorm(norm);
}

// e4m3 with the one scale that is given.
void StaticNorm(const DeviceCall& call, const Tensor& result, const Tensor& input,
                const std::optional<Tensor>& residual, const Tensor& weight, const Tensor& scale,
                double epsilon) {
  const TensorView x = call.View("input", input), out = call.View("result", result);
  device::Norm norm = NormOf(call, x, weight, epsilon);
  if (residual) SetResidual(norm, call.View("residual", *residual), x);
  CheckType(out, ScalarType::Float8_e4m3fn);
  SetQuantized(norm, out, x, NormQuant::kStatic);
  norm.scale = DeviceScalar(call.View("scale", scale));
  device::RmsNorm(norm);
}

void rms_norm_static_fp8_quant(const Tensor& result, const Tensor& input, const Tensor& weight,
                               const Tensor& scale, double epsilon) {
  const DeviceCall call("rms_norm_static_fp8_quant", input);
  StaticNorm(call, result, input, std::nullopt, weight, scale, epsilon);
}

void fused_add_rms_norm_static_fp8_quant(const Tensor& result, const Tensor& input,
                                         const Tensor& residual, const Tensor& weight,
                                         const Tensor& scale, double epsilon) {
  const DeviceCall call("fused_add_rms_norm_static_fp8_quant", input);
  StaticNorm(call, result, input, residual, weight, scale, epsilon);
}

void rms_norm_dynamic_per_token_quant(const Tensor& result, const Tensor& input,
                                      const Tensor& weight, const Tensor& scale, double epsilon,
                                      const std::optional<Tensor>& scale_ub,
                                      const std::optional<Tensor>& residual) {
  const DeviceCall call("rms_norm_dynamic_per_token_quant", input);
  const TensorView x = call.View("input", input);
  device::Norm norm = NormOf(call, x, weight, epsilon);
  if (residual) SetResidual(norm, call.View("residual", *residual), x);
  SetQuantized(norm, call.View("result", result), x, NormQuant::kPerToken);
  norm.scales = {RowScales(call.View("scale", scale), norm.input.Count()), 1, 0, 0};
  norm.scale_upper = OptionalScalar(call, "scale_ub", scale_ub);
  device::RmsNorm(norm);
}

void rms_norm_per_block_quant(const Tensor& result, const Tensor& input, const Tensor& weight,
                              const Tensor& scale, double epsilon,
                              const std::optional<Tensor>& scale_ub,
                              const std::optional<Tensor>& residual, int64_t group_size,
                              bool is_scale_transposed) {
  const DeviceCall call("rms_norm_per_block_quant", input);
  const TensorView x = call.View("input", input);
  device::Norm norm = NormOf(call, x, weight, epsilon);
  if (residual) SetResidual(norm, call.View("residual", *residual), x);
  SetQuantized(norm, call.View("result", result), x, NormQuant::kPerGroup);
  norm.scales = GroupScalesOf(call.View("scale", scale), norm.input.Count(), x, norm.hidden,
                              group_size, is_scale_transposed);
  norm.scale_upper = OptionalScalar(call, "scale_ub", scale_ub);
  device::RmsNorm(norm);
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C, m) {
  m.def(
      "rms_norm_static_fp8_quant(Tensor! result, Tensor input, Tensor weight, Tensor scale, "
      "float epsilon) -> ()");
  m.def(
      "fused_add_rms_norm_static_fp8_quant(Tensor! result, Tensor input, Tensor! residual, "
      "Tensor weight, Tensor scale, float epsilon) -> ()");
  m.def(
      "rms_norm_dynamic_per_token_quant(Tensor! result, Tensor input, Tensor weight, "
      "Tensor! scale, float epsilon, Tensor? scale_ub, Tensor!? residual) -> ()");
  m.def(
      "rms_norm_per_block_quant(Tensor! result, Tensor input, Tensor weight, Tensor! scale, "
      "float epsilon, Tensor? scale_ub, Tensor!? residual, int group_size, "
      "bool is_scale_transposed) -> ()");
}

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("rms_norm", TORCH_BOX(&rms_norm));
  m.impl("fused_add_rms_norm", TORCH_BOX(&fused_add_rms_norm));
  m.impl("rms_norm_static_fp8_quant", TORCH_BOX(&rms_norm_static_fp8_quant));
  m.impl("fused_add_rms_norm_static_fp8_quant", TORCH_BOX(&fused_add_rms_norm_static_fp8_quant));
  m.impl("rms_norm_dynamic_per_token_quant", TORCH_BOX(&rms_norm_dynamic_per_token_quant));
  m.impl("rms_norm_per_block_quant", TORCH_BOX(&rms_norm_per_block_quant));
}

}  // namespace vllm
