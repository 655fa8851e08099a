#include "cpu/sampling.h"

#include <torch/csrc/stable/ops.h>

#include <array>
#include <limits>

#include "bindings/tensor.h"

namespace vllm {
namespace {

constexpr const char* kOp = "sample_tokens";

template <typename T>
const T* RowVector(const char* name, const Tensor& tensor, ScalarType type, int64_t rows) {
  const TensorView view = View(kOp, name, tensor);
  CheckType(view, type);
  CheckShape(view, {rows}, "[rows]");
  CheckContiguous(view);
  return view.Data<T>();
}

Tensor sample_tokens(const Tensor& logits, const Tensor& temperature, const Tensor& top_k,
                     const Tensor& top_p, const Tensor& min_p, const Tensor& uniform) {
  const TensorView x = View(kOp, "logits", logits);
  CheckType(x, ScalarType::Float);
  CheckDim(x, 2);
  CheckLastContiguous(x);
  const int64_t rows = x.Size(0), vocab = x.Size(1);
  if (vocab < 1 || vocab > std::numeric_limits<int32_t>::max()) {
    Fail(x, "has shape " + ShapeString(x) +
                ", expected [rows, vocab] with a vocab of 1 to 2147483647");
  }
  SampleArgs args{};
  args.logits = x.Data<float>();
  args.row_stride = x.Stride(0);
  args.rows = rows;
  args.vocab = vocab;
  args.temperature = RowVector<float>("temperature", temperature, ScalarType::Float, rows);
  args.top_k = RowVector<int32_t>("top_k", top_k, ScalarType::Int, rows);
  args.top_p = RowVector<float>("top_p", top_p, ScalarType::Float, rows);
  args.min_p = RowVector<float>("min_p", min_p, ScalarType::Float, rows);
  args.uniform = RowVector<float>("uniform", uniform, ScalarType::Float, rows);
  const std::array<int64_t, 1> shape{rows};
  Tensor tokens = torch::stable::new_empty(logits, {shape.data(), shape.size()}, ScalarType::Long);
  args.tokens = static_cast<int64_t*>(tokens.data_ptr());
  SampleTokens(args);
  return tokens;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def(
      "sample_tokens(Tensor logits, Tensor temperature, Tensor top_k, Tensor top_p, Tensor min_p, "
      "Tensor uniform) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) { m.impl("sample_tokens", TORCH_BOX(&sample_tokens)); }

}  // namespace vllm
