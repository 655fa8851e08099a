#include "cpu/merge_states.h"

#include <optional>

#include "bindings/tensor.h"

namespace vllm {
namespace {

constexpr const char* kOp = "merge_attn_states";

AttentionOutput Output(const TensorView& tensor, const TensorView& like) {
  CheckSameType(tensor, like);
  CheckSameShape(tensor, like);
  CheckLastContiguous(tensor);
  return {tensor.data, tensor.Stride(0), tensor.Stride(1)};
}

LogSumExp Lse(const TensorView& lse, const TensorView& output) {
  CheckType(lse, ScalarType::Float);
  CheckShape(lse, {output.Size(1), output.Size(0)}, "[heads, tokens]");
  return {lse.Data<float>(), lse.Stride(0), lse.Stride(1)};
}

void merge_attn_states(const Tensor& output, const std::optional<Tensor>& output_lse,
                       const Tensor& prefix_output, const Tensor& prefix_lse,
                       const Tensor& suffix_output, const Tensor& suffix_lse) {
  const TensorView out = View(kOp, "output", output);
  CheckDim(out, 3);
  MergeArgs args{};
  args.dtype = FloatType(out);
  args.out = Output(out, out);
  args.prefix = Output(View(kOp, "prefix_output", prefix_output), out);
  args.suffix = Output(View(kOp, "suffix_output", suffix_output), out);
  args.prefix_lse = Lse(View(kOp, "prefix_lse", prefix_lse), out);
  args.suffix_lse = Lse(View(kOp, "suffix_lse", suffix_lse), out);
  if (output_lse.has_value()) args.out_lse = Lse(View(kOp, "output_lse", *output_lse), out);
  args.tokens = out.Size(0);
  args.heads = out.Size(1);
  args.head_size = out.Size(2);
  MergeAttentionStates(args);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def(
      "merge_attn_states(Tensor! output, Tensor!? output_lse, Tensor prefix_output, Tensor "
      "prefix_lse, "
      "Tensor suffix_output, Tensor suffix_lse) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("merge_attn_states", TORCH_BOX(&merge_attn_states));
}

}  // namespace vllm
