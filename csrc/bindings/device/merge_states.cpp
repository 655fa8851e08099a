#include "device/merge_states.h"

#include "bindings/device/call.h"

namespace vllm {
namespace {

device::AttentionOutput Output(const TensorView& tensor, const TensorView& like) {
  CheckSameType(tensor, like);
  CheckSameShape(tensor, like);
  CheckLastContiguous(tensor);
  return {tensor.data, tensor.Stride(0), tensor.Stride(1)};
}

device::LogSumExp Lse(const TensorView& lse, const TensorView& output) {
  CheckType(lse, ScalarType::Float);
  CheckShape(lse, {output.Size(1), output.Size(0)}, "[heads, tokens]");
  return {lse.Data<float>(), lse.Stride(0), lse.Stride(1)};
}

void merge_attn_states(const Tensor& output, const std::optional<Tensor>& output_lse,
                       const Tensor& prefix_output, const Tensor& prefix_lse,
                       const Tensor& suffix_output, const Tensor& suffix_lse) {
  const DeviceCall call("merge_attn_states", output);
  const TensorView out = call.View("output", output);
  CheckDim(out, 3);
  device::MergeStates merge{};
  merge.op = call.Op();
  merge.type = DeviceFloatType(out);
  merge.out = Output(out, out);
  merge.prefix = Output(call.View("prefix_output", prefix_output), out);
  merge.suffix = Output(call.View("suffix_output", suffix_output), out);
  merge.prefix_lse = Lse(call.View("prefix_lse", prefix_lse), out);
  merge.suffix_lse = Lse(call.View("suffix_lse", suffix_lse), out);
  if (output_lse) merge.out_lse = Lse(call.View("output_lse", *output_lse), out);
  merge.tokens = out.Size(0);
  merge.heads = out.Size(1);
  merge.head_size = out.Size(2);
  merge.stream = call.Stream();
  device::MergeAttentionStates(merge);
}

}  // namespace

VLLM_DEVICE_KERNELS(_C, m) { m.impl("merge_attn_states", TORCH_BOX(&merge_attn_states)); }

}  // namespace vllm
