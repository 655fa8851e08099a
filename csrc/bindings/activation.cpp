#include "cpu/activation.h"

#include "bindings/tensor.h"

namespace vllm {
namespace {

// input [..., inputs * d] -> out [..., d]
void Run(const char* op, const char* out_name, Activation kind, int64_t inputs,
         const Tensor& out_tensor, const Tensor& input_tensor, float p0 = 0.0f, float p1 = 0.0f) {
  const TensorView input = View(op, "input", input_tensor);
  const TensorView out = View(op, out_name, out_tensor);
  const DType dtype = FloatType(input);
  CheckSameType(out, input);
  const RowLayout input_rows = Rows(input);
  const RowLayout out_rows = Rows(out);
  bool same = out.dim == input.dim && out.Size(-1) * inputs == input.Size(-1);
  for (int64_t i = 0; same && i < input.dim - 1; ++i) same = out.sizes[i] == input.sizes[i];
  if (!same) {
    Fail(out, "has shape " + ShapeString(out) + ", expected that of input " + ShapeString(input) +
                  (inputs == 2 ? " with half its last dimension" : ""));
  }
  if (out.Size(-1) == 0) return;
  Activate({out.data, input.data, out_rows, input_rows, out.Size(-1), {p0, p1}, kind, dtype});
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
  Run("fatrelu_and_mul", "out", Activation::kFatreluAndMul, 2, out, input,
      static_cast<float>(threshold));
}

void swigluoai_and_mul(const Tensor& out, const Tensor& input, double alpha, double limit) {
  Run("swigluoai_and_mul", "out", Activation::kSwigluOaiAndMul, 2, out, input,
      static_cast<float>(alpha), static_cast<float>(limit));
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

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def("silu_and_mul(Tensor! result, Tensor input) -> ()");
  m.def("mul_and_silu(Tensor! out, Tensor input) -> ()");
  m.def("gelu_and_mul(Tensor! out, Tensor input) -> ()");
  m.def("gelu_tanh_and_mul(Tensor! out, Tensor input) -> ()");
  m.def("fatrelu_and_mul(Tensor! out, Tensor input, float threshold) -> ()");
  m.def("swigluoai_and_mul(Tensor! out, Tensor input, float alpha=1.702, float limit=7.0) -> ()");
  m.def("gelu_new(Tensor! out, Tensor input) -> ()");
  m.def("gelu_fast(Tensor! out, Tensor input) -> ()");
  m.def("gelu_quick(Tensor! out, Tensor input) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("silu_and_mul", TORCH_BOX(&silu_and_mul));
  m.impl("mul_and_silu", TORCH_BOX(&mul_and_silu));
  m.impl("gelu_and_mul", TORCH_BOX(&gelu_and_mul));
  m.impl("gelu_tanh_and_mul", TORCH_BOX(&gelu_tanh_and_mul));
  m.impl("fatrelu_and_mul", TORCH_BOX(&fatrelu_and_mul));
  m.impl("swigluoai_and_mul", TORCH_BOX(&swigluoai_and_mul));
  m.impl("gelu_new", TORCH_BOX(&gelu_new));
  m.impl("gelu_fast", TORCH_BOX(&gelu_fast));
  m.impl("gelu_quick", TORCH_BOX(&gelu_quick));
}

}  // namespace vllm
