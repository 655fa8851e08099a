#include "device/activation.h"

#include "bindings/device/rows.h"

namespace vllm {
namespace {

using device::Activation;

// input [..., inputs * d] -> out [..., d]
void CheckOut(const TensorView& out, const TensorView& input, int64_t inputs) {
  bool same = out.dim == input.dim && out.dim > 0 && out.Size(-1) * inputs == input.Size(-1);
  for (int64_t i = 0; same && i < input.dim - 1; ++i) same = out.sizes[i] == input.sizes[i];
  if (same) return;
  Fail(out, "has shape " + ShapeString(out) + ", expected that of input " + ShapeString(input) +
                (inputs == 2 ? " with half its last dimension" : ""));
}

void Run(const char* op, const char* out_name, Activation kind, int64_t inputs,
         const Tensor& out_tensor, const Tensor& input_tensor, double p0 = 0, double p1 = 0) {
  const DeviceCall call(op, input_tensor);
  const TensorView input = call.View("input", input_tensor), out = call.View(out_name, out_tensor);
  const device::Type type = DeviceFloatType(input);
  CheckSameType(out, input);
  CheckOut(out, input, inputs);
  device::RunActivation({op,
                         DeviceRows(out),
                         DeviceRows(input),
                         out.Size(-1),
                         {static_cast<float>(p0), static_cast<float>(p1)},
                         kind,
                         type,
                         call.Stream()});
}

void silu_and_mul(const Tensor& result, const Tensor& input) {
  Run("silu_and_mul", "result", Activation::kSiluAndMul, 2, result, input);
}

void mul_and_silu(const Tensor& out, const Tensor& input) {
  Run("mul_and_silu", "out", Activation::kMulAndSilu, 2, out, input);
}

void gelu_and_mul(const Tensor& out, const Tensor& input) {
  Run("gelu_and_mul", "out", Activation::kGeluAndMul, 2, out, input);
}

void gelu_tanh_and_mul(const Tensor& out, const Tensor& input) {
  Run("gelu_tanh_and_mul", "out", Activation::kGeluTanhAndMul, 2, out, input);
}

void fatrelu_and_mul(const Tensor& out, const Tensor& input, double threshold) {
  Run("fatrelu_and_mul", "out", Activation::kFatreluAndMul, 2, out, input, threshold);
}

void swigluoai_and_mul(const Tensor& out, const Tensor& input, double alpha, double limit) {
  Run("swigluoai_and_mul", "out", Activation::kSwigluOaiAndMul, 2, out, input, alpha, limit);
}

void gelu_new(const Tensor& out, const Tensor& input) {
  Run("gelu_new", "out", Activation::kGeluTanh, 1, out, input);
}

void gelu_fast(const Tensor& out, const Tensor& input) {
  Run("gelu_fast", "out", Activation::kGeluTanh, 1, out, input);
}

void gelu_quick(const Tensor& out, const Tensor& input) {
  Run("gelu_quick", "out", Activation::kGeluQuick, 1, out, input);
}

device::SiluQuant SiluQuantOf(const DeviceCall& call, const TensorView& out,
                              const TensorView& input) {
  CheckOut(out, input, 2);
  device::SiluQuant quant{};
  quant.op = call.Op();
  quant.out = DeviceRows(out);
  quant.input = DeviceRows(input);
  quant.size = out.Size(-1);
  quant.type = DeviceFloatType(input);
  quant.out_type = QuantizedType(out);
  quant.stream = call.Stream();
  return quant;
}

void silu_and_mul_quant(const Tensor& result, const Tensor& input, const Tensor& scale) {
  const DeviceCall call("silu_and_mul_quant", input);
  device::SiluQuant quant =
      SiluQuantOf(call, call.View("result", result), call.View("input", input));
  quant.scale = DeviceScalar(call.View("scale", scale));
  device::RunSiluAndMulQuant(quant);
}

void silu_and_mul_per_block_quant(const Tensor& out, const Tensor& input, const Tensor& scales,
                                  int64_t group_size, const std::optional<Tensor>& scale_ub,
                                  bool is_scale_transposed) {
  const DeviceCall call("silu_and_mul_per_block_quant", input);
  const TensorView x = call.View("input", input);
  device::SiluQuant quant = SiluQuantOf(call, call.View("out", out), x);
  quant.scales = GroupScalesOf(call.View("scales", scales), quant.input.Count(), x, quant.size,
                               group_size, is_scale_transposed);
  quant.scale_upper = OptionalScalar(call, "scale_ub", scale_ub);
  device::RunSiluAndMulQuant(quant);
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C, m) {
  m.def("silu_and_mul_quant(Tensor! result, Tensor input, Tensor scale) -> ()");
  m.def(
      "silu_and_mul_per_block_quant(Tensor! out, Tensor input, Tensor! scales, int group_size, "
      "Tensor? scale_ub=None, bool is_scale_transposed=False) -> ()");
}

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("silu_and_mul", TORCH_BOX(&silu_and_mul));
  m.impl("mul_and_silu", TORCH_BOX(&mul_and_silu));
  m.impl("gelu_and_mul", TORCH_BOX(&gelu_and_mul));
  m.impl("gelu_tanh_and_mul", TORCH_BOX(&gelu_tanh_and_mul));
  m.impl("fatrelu_and_mul", TORCH_BOX(&fatrelu_and_mul));
  m.impl("swigluoai_and_mul", TORCH_BOX(&swigluoai_and_mul));
  m.impl("gelu_new", TORCH_BOX(&gelu_new));
  m.impl("gelu_fast", TORCH_BOX(&gelu_fast));
  m.impl("gelu_quick", TORCH_BOX(&gelu_quick));
  m.impl("silu_and_mul_quant", TORCH_BOX(&silu_and_mul_quant));
  m.impl("silu_and_mul_per_block_quant", TORCH_BOX(&silu_and_mul_per_block_quant));
}

}  // namespace vllm
