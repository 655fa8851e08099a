#include "cpu/penalties.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <vector>

#include "bindings/tensor.h"

namespace vllm {
namespace {

TensorView RowVector(const char* op, const char* name, const Tensor& tensor, int64_t rows) {
  const TensorView view = View(op, name, tensor);
  CheckType(view, ScalarType::Float);
  CheckShape(view, {rows}, "[rows]");
  CheckContiguous(view);
  return view;
}

template <typename T>
std::vector<float> Widened(const TensorView& view) {
  return {view.Data<T>(), view.Data<T>() + view.Numel()};
}

// As f32, of f32 or the type of `logits`.
std::vector<float> Penalties(const char* op, const char* name, const Tensor& tensor,
                             const TensorView& logits) {
  const TensorView view = View(op, name, tensor);
  if (!view.Is(ScalarType::Float)) CheckSameType(view, logits);
  CheckShape(view, {logits.Size(0)}, "[rows]");
  CheckContiguous(view);
  if (view.Is(ScalarType::Half)) return Widened<torch::headeronly::Half>(view);
  if (view.Is(ScalarType::BFloat16)) return Widened<torch::headeronly::BFloat16>(view);
  return Widened<float>(view);
}

TensorView Mask(const char* op, const char* name, const Tensor& tensor, const TensorView& logits) {
  const TensorView view = View(op, name, tensor);
  CheckType(view, ScalarType::Bool);
  CheckSameShape(view, logits);
  CheckLastContiguous(view);
  return view;
}

void apply_repetition_penalties_(const Tensor& logits, const Tensor& prompt_mask,
                                 const Tensor& output_mask, const Tensor& repetition_penalties) {
  constexpr const char* kOp = "apply_repetition_penalties_";
  const TensorView x = View(kOp, "logits", logits);
  const DType dtype = FloatType(x);
  CheckDim(x, 2);
  CheckLastContiguous(x);
  const TensorView prompt = Mask(kOp, "prompt_mask", prompt_mask, x);
  const TensorView output = Mask(kOp, "output_mask", output_mask, x);
  const std::vector<float> penalties =
      Penalties(kOp, "repetition_penalties", repetition_penalties, x);
  ApplyRepetitionPenalties({x.data, x.Stride(0), prompt.Data<bool>(), prompt.Stride(0),
                            output.Data<bool>(), output.Stride(0), penalties.data(), x.Size(0),
                            x.Size(1), dtype});
}

// An i32 vector, contiguous.
TensorView Ints(const char* op, const char* name, const Tensor& tensor, int64_t size,
                const char* meaning) {
  const TensorView view = View(op, name, tensor);
  CheckType(view, ScalarType::Int);
  CheckShape(view, {size}, meaning);
  CheckContiguous(view);
  return view;
}

void CheckOffsets(const TensorView& offsets, int64_t tokens) {
  const int32_t* values = offsets.Data<int32_t>();
  const int64_t last = offsets.Size(0) - 1;
  bool ascending = values[0] == 0 && values[last] == tokens;
  for (int64_t i = 0; i < last; ++i) ascending = ascending && values[i] <= values[i + 1];
  if (!ascending) {
    Fail(offsets,
         "does not ascend from 0 to " + std::to_string(tokens) + ", the size of token_ids");
  }
}

void apply_penalties_(const Tensor& logits, const Tensor& row_offsets, const Tensor& token_ids,
                      const Tensor& counts, const Tensor& repetition, const Tensor& frequency,
                      const Tensor& presence) {
  constexpr const char* kOp = "apply_penalties_";
  const TensorView x = View(kOp, "logits", logits);
  CheckType(x, ScalarType::Float);
  CheckDim(x, 2);
  CheckLastContiguous(x);
  const int64_t rows = x.Size(0);
  const TensorView offsets = Ints(kOp, "row_offsets", row_offsets, rows + 1, "[rows + 1]");
  const TensorView ids = Ints(kOp, "token_ids", token_ids, -1, "[tokens]");
  const int64_t tokens = ids.Size(0);
  const TensorView n = Ints(kOp, "counts", counts, tokens, "[tokens]");
  CheckOffsets(offsets, tokens);
  for (int64_t i = 0; i < tokens; ++i) {
    const int32_t id = ids.Data<int32_t>()[i];
    if (id < 0 || id >= x.Size(1)) {
      Fail(ids, "holds " + std::to_string(id) + ", expected 0 to " + std::to_string(x.Size(1) - 1));
    }
  }
  ApplySparsePenalties({x.Data<float>(), x.Stride(0), offsets.Data<int32_t>(), ids.Data<int32_t>(),
                        n.Data<int32_t>(),
                        RowVector(kOp, "repetition", repetition, rows).Data<float>(),
                        RowVector(kOp, "frequency", frequency, rows).Data<float>(),
                        RowVector(kOp, "presence", presence, rows).Data<float>(), rows});
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def(
      "apply_repetition_penalties_(Tensor! logits, Tensor prompt_mask, Tensor output_mask, "
      "Tensor repetition_penalties) -> ()");
  m.def(
      "apply_penalties_(Tensor! logits, Tensor row_offsets, Tensor token_ids, Tensor counts, "
      "Tensor repetition, "
      "Tensor frequency, Tensor presence) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("apply_repetition_penalties_", TORCH_BOX(&apply_repetition_penalties_));
  m.impl("apply_penalties_", TORCH_BOX(&apply_penalties_));
}

}  // namespace vllm
