#include "device/penalties.h"

#include "bindings/device/call.h"

namespace vllm {
namespace {

template <typename T>
const T* Vector(const TensorView& view, ScalarType type, int64_t size, const char* meaning) {
  CheckType(view, type);
  CheckShape(view, {size}, meaning);
  CheckContiguous(view);
  return view.Data<T>();
}

const bool* Mask(const TensorView& view, const TensorView& logits) {
  CheckType(view, ScalarType::Bool);
  CheckSameShape(view, logits);
  CheckLastContiguous(view);
  return view.Data<bool>();
}

void apply_repetition_penalties_(const Tensor& logits, const Tensor& prompt_mask,
                                 const Tensor& output_mask, const Tensor& repetition_penalties) {
  const DeviceCall call("apply_repetition_penalties_", logits);
  const TensorView x = call.View("logits", logits);
  const device::Type type = DeviceFloatType(x);
  CheckDim(x, 2);
  CheckLastContiguous(x);
  const TensorView prompt = call.View("prompt_mask", prompt_mask);
  const TensorView output = call.View("output_mask", output_mask);
  const TensorView penalties = call.View("repetition_penalties", repetition_penalties);
  if (!penalties.Is(ScalarType::Float)) CheckSameType(penalties, x);
  CheckShape(penalties, {x.Size(0)}, "[rows]");
  CheckContiguous(penalties);
  device::ApplyRepetitionPenalties({call.Op(), x.data, x.Stride(0), Mask(prompt, x),
                                    prompt.Stride(0), Mask(output, x), output.Stride(0),
                                    penalties.data, x.Size(0), x.Size(1), type,
                                    DeviceFloatType(penalties), call.Stream()});
}

void apply_penalties_(const Tensor& logits, const Tensor& row_offsets, const Tensor& token_ids,
                      const Tensor& counts, const Tensor& repetition, const Tensor& frequency,
                      const Tensor& presence) {
  const DeviceCall call("apply_penalties_", logits);
  const TensorView x = call.View("logits", logits);
  CheckType(x, ScalarType::Float);
  CheckDim(x, 2);
  CheckLastContiguous(x);
  const int64_t rows = x.Size(0);
  const TensorView ids = call.View("token_ids", token_ids);
  const int32_t* id_values = Vector<int32_t>(ids, ScalarType::Int, -1, "[tokens]");
  const int64_t tokens = ids.Size(0);
  const auto row_values = [&](const char* name, const Tensor& tensor) {
    return Vector<float>(call.View(name, tensor), ScalarType::Float, rows, "[rows]");
  };
  device::ApplySparsePenalties(
      {call.Op(), x.Data<float>(), x.Stride(0),
       Vector<int32_t>(call.View("row_offsets", row_offsets), ScalarType::Int, rows + 1,
                       "[rows + 1]"),
       id_values, Vector<int32_t>(call.View("counts", counts), ScalarType::Int, tokens, "[tokens]"),
       row_values("repetition", repetition), row_values("frequency", frequency),
       row_values("presence", presence), rows, x.Size(1), tokens, call.Stream()});
}

}  // namespace

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("apply_repetition_penalties_", TORCH_BOX(&apply_repetition_penalties_));
  m.impl("apply_penalties_", TORCH_BOX(&apply_penalties_));
}

}  // namespace vllm
