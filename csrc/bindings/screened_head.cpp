#include "cpu/screened_head.h"

#include <torch/csrc/stable/ops.h>

#include <string>
#include <tuple>

#include "bindings/linear.h"
#include "bindings/quantized_linear.h"

namespace vllm {
namespace {

std::tuple<Tensor, Tensor> screen_head(const Tensor& weight_tensor) {
  const TensorView weight = View("screen_head", "weight", weight_tensor);
  const DType dtype = FloatType(weight);
  CheckDim(weight, 2);
  CheckLastContiguous(weight);
  const int64_t n = weight.Size(0), k = weight.Size(1);
  if (n < 1 || k < 1) {
    Fail(weight, "has shape " + ShapeString(weight) + ", expected at least [1, 1]");
  }
  Tensor screen =
      torch::stable::new_empty(weight_tensor, {ScreenOf(n, k).PackedBytes()}, ScalarType::Byte);
  Tensor norms = torch::stable::new_empty(
      weight_tensor, {PanelCount(n, PackOrder::kPlain), int64_t{2}}, ScalarType::Float);
  ScreenHead(weight.data, weight.Stride(0), n, k, dtype, screen.data_ptr(),
             static_cast<ScreenNorms*>(norms.data_ptr()));
  return {screen, norms};
}

std::tuple<Tensor, Tensor, Tensor> screened_argmax(const Tensor& input_tensor,
                                                   const Tensor& packed_tensor,
                                                   const Tensor& screen_tensor,
                                                   const Tensor& norms_tensor) {
  const char* op = "screened_argmax";
  const TensorView input = View(op, "input", input_tensor);
  const TensorView packed = View(op, "packed", packed_tensor);
  const TensorView norms = View(op, "norms", norms_tensor);
  CheckDim(input, 2);
  CheckLastContiguous(input);
  CheckSameType(input, packed);
  ScreenedArgmaxArgs args{};
  const TensorView screen = View(op, "screen", screen_tensor);
  args.screen = ReadQuantized(screen, -1, input.Size(1), PackOrder::kPlain);
  const QuantizedWeight& s = args.screen;
  if (s.bits != 8 || s.scaled || s.zeroed || s.permutation != nullptr ||
      s.group_size != ScreenOf(s.n, s.k).group_size) {
    Fail(screen, "is another packed weight than screen_head makes");
  }
  args.head = PackedWeight(packed, args.screen.n, args.screen.k, PackOrder::kPlain);
  CheckType(norms, ScalarType::Float);
  CheckShape(norms, {PanelCount(args.head.n, PackOrder::kPlain), 2}, "[panels, 2]");
  CheckContiguous(norms);
  args.norms = norms.Data<const ScreenNorms>();
  args.input = input.data;
  args.m = input.Size(0);
  args.input_stride = input.Stride(0);
  Tensor tokens = torch::stable::new_empty(input_tensor, {args.m}, ScalarType::Long);
  args.tokens = static_cast<int64_t*>(tokens.data_ptr());
  Tensor logits = torch::stable::new_empty(input_tensor, {args.m}, ScalarType::Float);
  args.logits = static_cast<float*>(logits.data_ptr());
  Tensor computed = torch::stable::new_empty(input_tensor, {int64_t{1}}, ScalarType::Long);
  *static_cast<int64_t*>(computed.data_ptr()) = ScreenedArgmax(args);
  return {tokens, logits, computed};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def("screen_head(Tensor weight) -> (Tensor, Tensor)");
  m.def(
      "screened_argmax(Tensor input, Tensor packed, Tensor screen, Tensor norms) -> (Tensor, "
      "Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("screen_head", TORCH_BOX(&screen_head));
  m.impl("screened_argmax", TORCH_BOX(&screened_argmax));
}

}  // namespace vllm
