#include "cpu/norm.h"

#include <optional>

#include "bindings/norm.h"
#include "bindings/recording.h"

namespace vllm {
namespace {

NormWeight Weight(const char* op, const std::optional<Tensor>& weight, const TensorView& input) {
  if (!weight) return {nullptr, 1};
  const TensorView view = View(op, "weight", *weight);
  return {view.data, CheckNormWeight(view, input)};
}

void rms_norm(const Tensor& result, const Tensor& input, const std::optional<Tensor>& weight,
              double epsilon) {
  const TensorView x = View("rms_norm", "input", input);
  const TensorView out = View("rms_norm", "result", result);
  const DType dtype = FloatType(x);
  const RowLayout input_rows = Rows(x);
  CheckSameType(out, x);
  CheckSameShape(out, x);
  const NormWeight w = Weight("rms_norm", weight, x);
  const RmsNormArgs args{
      out.data, x.data, w, Rows(out), input_rows, x.Size(-1), static_cast<float>(epsilon), dtype};
  Launch([args] { RmsNorm(args); });
}

void fused_add_rms_norm(const Tensor& input, const Tensor& residual,
                        const std::optional<Tensor>& weight, double epsilon) {
  const TensorView x = View("fused_add_rms_norm", "input", input);
  const TensorView r = View("fused_add_rms_norm", "residual", residual);
  const DType dtype = FloatType(x);
  const RowLayout input_rows = Rows(x);
  CheckSameType(r, x);
  CheckSameShape(r, x);
  const NormWeight w = Weight("fused_add_rms_norm", weight, x);
  const FusedAddRmsNormArgs args{
      x.data, r.data, w, input_rows, Rows(r), x.Size(-1), static_cast<float>(epsilon), dtype};
  Launch([args] { FusedAddRmsNorm(args); });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def("rms_norm(Tensor! result, Tensor input, Tensor? weight, float epsilon) -> ()");
  m.def("fused_add_rms_norm(Tensor! input, Tensor! residual, Tensor? weight, float epsilon) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("rms_norm", TORCH_BOX(&rms_norm));
  m.impl("fused_add_rms_norm", TORCH_BOX(&fused_add_rms_norm));
}

}  // namespace vllm
