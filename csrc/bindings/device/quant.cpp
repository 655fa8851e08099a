#include "device/quant.h"

#include "bindings/device/rows.h"
#include "bindings/scaled_mm.h"

namespace vllm {
namespace {

device::Quantize QuantizeOf(const DeviceCall& call, const TensorView& out, const TensorView& input,
                            ScalarType type) {
  CheckType(out, type);
  CheckSameShape(out, input);
  device::Quantize quantize{};
  quantize.op = call.Op();
  quantize.type = DeviceFloatType(input);
  quantize.input = DeviceRows(input);
  quantize.out = DeviceRows(out);
  quantize.out_type = QuantizedType(out);
  quantize.size = input.Size(-1);
  quantize.stream = call.Stream();
  return quantize;
}

int32_t* ZeroPoints(const TensorView& azp, int64_t rows) {
  CheckType(azp, ScalarType::Int);
  CheckContiguous(azp);
  if (azp.Numel() != rows) {
    Fail(azp, "has shape " + ShapeString(azp) + ", expected " + std::to_string(rows) + " values");
  }
  return azp.Data<int32_t>();
}

void static_scaled_fp8_quant(const Tensor& result, const Tensor& input, const Tensor& scale) {
  const DeviceCall call("static_scaled_fp8_quant", input);
  device::Quantize quantize = QuantizeOf(call, call.View("result", result),
                                         call.View("input", input), ScalarType::Float8_e4m3fn);
  quantize.scale = const_cast<float*>(DeviceScalar(call.View("scale", scale)));
  device::QuantizeStatic(quantize);
}

void dynamic_scaled_fp8_quant(const Tensor& result, const Tensor& input, const Tensor& scale) {
  const DeviceCall call("dynamic_scaled_fp8_quant", input);
  device::Quantize quantize = QuantizeOf(call, call.View("result", result),
                                         call.View("input", input), ScalarType::Float8_e4m3fn);
  quantize.scale = FirstValue(call.View("scale", scale));
  device::QuantizePerTensor(quantize);
}

void dynamic_per_token_scaled_fp8_quant(const Tensor& result, const Tensor& input,
                                        const Tensor& scale,
                                        const std::optional<Tensor>& scale_ub) {
  const DeviceCall call("dynamic_per_token_scaled_fp8_quant", input);
  device::Quantize quantize = QuantizeOf(call, call.View("result", result),
                                         call.View("input", input), ScalarType::Float8_e4m3fn);
  quantize.scales = {RowScales(call.View("scale", scale), quantize.input.Count()), 1, 0, 0};
  quantize.scale_upper = OptionalScalar(call, "scale_ub", scale_ub);
  device::QuantizePerRow(quantize);
}

void static_scaled_int8_quant(const Tensor& result, const Tensor& input, const Tensor& scale,
                              const std::optional<Tensor>& azp) {
  const DeviceCall call("static_scaled_int8_quant", input);
  device::Quantize quantize =
      QuantizeOf(call, call.View("result", result), call.View("input", input), ScalarType::Char);
  quantize.scale = const_cast<float*>(DeviceScalar(call.View("scale", scale)));
  if (azp) quantize.zero_points = ZeroPoints(call.View("azp", *azp), 1);
  device::QuantizeStatic(quantize);
}

void dynamic_scaled_int8_quant(const Tensor& result, const Tensor& input, const Tensor& scale,
                               const std::optional<Tensor>& azp) {
  const DeviceCall call("dynamic_scaled_int8_quant", input);
  device::Quantize quantize =
      QuantizeOf(call, call.View("result", result), call.View("input", input), ScalarType::Char);
  const int64_t rows = quantize.input.Count();
  quantize.scales = {RowScales(call.View("scale", scale), rows), 1, 0, 0};
  if (azp) quantize.zero_points = ZeroPoints(call.View("azp", *azp), rows);
  device::QuantizePerRow(quantize);
}

void per_token_group_fp8_quant(const Tensor& input, const Tensor& output_q, const Tensor& output_s,
                               int64_t group_size, double eps, double fp8_min, double fp8_max,
                               bool scale_ue8m0) {
  const DeviceCall call("per_token_group_fp8_quant", input);
  const TensorView x = call.View("input", input);
  if (!(fp8_max > 0 && fp8_max <= 448 && fp8_min == -fp8_max)) {
    call.Fail("fp8_min and fp8_max are " + std::to_string(fp8_min) + " and " +
              std::to_string(fp8_max) + ", expected -m and m with m of at most 448");
  }
  device::GroupQuantize quantize{};
  quantize.base = QuantizeOf(call, call.View("output_q", output_q), x, ScalarType::Float8_e4m3fn);
  quantize.base.scales = GroupScalesOf(call.View("output_s", output_s), quantize.base.input.Count(),
                                       x, quantize.base.size, group_size);
  quantize.epsilon = static_cast<float>(eps);
  quantize.limit = static_cast<float>(fp8_max);
  quantize.powers_of_two = scale_ue8m0;
  device::QuantizePerGroup(quantize);
}

}  // namespace

// The other schemas are the CPU kernels' (bindings/scaled_quant.cpp).
VLLM_DEVICE_SCHEMAS(_C, m) {
  m.def(
      "per_token_group_fp8_quant(Tensor input, Tensor! output_q, Tensor! output_s, "
      "int group_size, float eps, float fp8_min, float fp8_max, bool scale_ue8m0) -> ()");
}

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("static_scaled_fp8_quant", TORCH_BOX(&static_scaled_fp8_quant));
  m.impl("dynamic_scaled_fp8_quant", TORCH_BOX(&dynamic_scaled_fp8_quant));
  m.impl("dynamic_per_token_scaled_fp8_quant", TORCH_BOX(&dynamic_per_token_scaled_fp8_quant));
  m.impl("static_scaled_int8_quant", TORCH_BOX(&static_scaled_int8_quant));
  m.impl("dynamic_scaled_int8_quant", TORCH_BOX(&dynamic_scaled_int8_quant));
  m.impl("per_token_group_fp8_quant", TORCH_BOX(&per_token_group_fp8_quant));
}

}  // namespace vllm
