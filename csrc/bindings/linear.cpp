#include "bindings/linear.h"

#include <torch/csrc/stable/ops.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings/quantized_linear.h"
#include "bindings/recording.h"
#include "bindings/tensor.h"

namespace vllm {
namespace {

// Shape of the opaque packed tensor of a weight [n, k].
std::vector<int64_t> PackedShape(int64_t n, int64_t k, DType dtype, PackOrder order) {
  const int64_t panels = PanelCount(n, order);
  if (dtype == DType::kBFloat16) return {panels, (k + 1) / 2, kPanelWidth, 2};
  return {panels, k, kPanelWidth};
}

Tensor Pack(const char* op, const Tensor& weight, PackOrder order) {
  const TensorView w = View(op, "weight", weight);
  const DType dtype = FloatType(w);
  CheckDim(w, 2);
  CheckLastContiguous(w);
  if (order == PackOrder::kGateUp && w.Size(0) % 2 != 0) {
    Fail(w, "has " + std::to_string(w.Size(0)) +
                " rows, expected an even number: gate rows, then as many up rows");
  }
  const std::vector<int64_t> shape = PackedShape(w.Size(0), w.Size(1), dtype, order);
  Tensor packed = torch::stable::new_empty(weight, shape);
  PackLinearWeight(w.data, w.Stride(0), w.Size(0), w.Size(1), dtype, order, packed.data_ptr());
  return packed;
}

Tensor pack_linear_weight(const Tensor& weight) {
  return Pack("pack_linear_weight", weight, PackOrder::kPlain);
}

Tensor pack_gate_up_weight(const Tensor& weight) {
  return Pack("pack_gate_up_weight", weight, PackOrder::kGateUp);
}

}  // namespace

LinearWeight PackedWeight(const TensorView& packed, int64_t n, int64_t k, PackOrder order) {
  const DType dtype = FloatType(packed);
  const std::vector<int64_t> shape = PackedShape(n, k, dtype, order);
  bool fits = packed.dim == static_cast<int64_t>(shape.size());
  for (int64_t i = 0; fits && i < packed.dim; ++i) fits = packed.Size(i) == shape[i];
  if (!fits) {
    Fail(packed, "has shape " + ShapeString(packed) + ", which is not a packed weight of " +
                     std::to_string(n) + " x " + std::to_string(k) +
                     " (the sizes of out and input): pack it with pack_" +
                     (order == PackOrder::kPlain ? "linear" : "gate_up") + "_weight");
  }
  CheckContiguous(packed);
  return {packed.data, n, k, dtype, order};
}

namespace {

// `n` counts rows of the weight.
void Run(const TensorView& out, const TensorView& input, const TensorView& packed,
         const TensorView* bias, PackOrder order) {
  CheckDim(input, 2);
  CheckLastContiguous(input);
  if (!IsQuantized(packed)) CheckSameType(input, packed);
  CheckShape(out, {input.Size(0), -1}, "[rows of input, outputs]");
  CheckLastContiguous(out);
  if (!out.Is(ScalarType::Float)) CheckSameType(out, input);
  const int64_t n = out.Size(1) * (order == PackOrder::kGateUp ? 2 : 1);
  if (bias != nullptr) {
    CheckSameType(*bias, IsQuantized(packed) ? input : packed);
    CheckShape(*bias, {n}, "[outputs]");
    CheckContiguous(*bias);
  }
  if (IsQuantized(packed)) return RunQuantized(out, input, packed, bias, n, order);
  const LinearWeight weight = PackedWeight(packed, n, input.Size(1), order);
  const LinearArgs args{
      weight,   input.data,    input.Size(0), input.Stride(0), bias ? bias->data : nullptr,
      out.data, out.Stride(0), FloatType(out)};
  Launch([args] { Linear(args); });
}

}  // namespace

void CheckIds(const TensorView& ids, int64_t rows) {
  for (int64_t j = 0; j < ids.Size(0); ++j) {
    const int64_t id = ids.Data<int64_t>()[j];
    if (id < 0 || id >= rows) {
      Fail(ids, "has " + std::to_string(id) + " at " + std::to_string(j) +
                    ", expected row numbers of the weight, below " + std::to_string(rows));
    }
  }
}

namespace {

void linear_packed(const Tensor& out, const Tensor& input, const Tensor& packed,
                   const std::optional<Tensor>& bias) {
  const char* op = "linear_packed";
  std::optional<TensorView> b;
  if (bias) b = View(op, "bias", *bias);
  Run(View(op, "out", out), View(op, "input", input), View(op, "packed", packed), b ? &*b : nullptr,
      PackOrder::kPlain);
}

void linear_packed_silu_and_mul(const Tensor& out, const Tensor& input, const Tensor& packed) {
  const char* op = "linear_packed_silu_and_mul";
  Run(View(op, "out", out), View(op, "input", input), View(op, "packed", packed), nullptr,
      PackOrder::kGateUp);
}

void gather_packed_rows(const Tensor& out, const Tensor& packed, const Tensor& ids) {
  const char* op = "gather_packed_rows";
  const TensorView o = View(op, "out", out), p = View(op, "packed", packed);
  const TensorView i = View(op, "ids", ids);
  CheckType(i, ScalarType::Long);
  CheckDim(i, 1);
  CheckContiguous(i);
  if (!IsQuantized(p)) CheckSameType(o, p);
  CheckShape(o, {i.Size(0), -1}, "[ids, columns of the weight]");
  CheckLastContiguous(o);
  if (IsQuantized(p)) return GatherQuantized(o, p, i);
  const int64_t rows = p.Size(0) * kPanelWidth;
  const LinearWeight weight = PackedWeight(p, rows, o.Size(1), PackOrder::kPlain);
  CheckIds(i, rows);
  Launch([=, ids = i.Data<const int64_t>(), count = i.Size(0), to = o.data, stride = o.Stride(0)] {
    GatherPackedRows(weight, ids, count, to, stride);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def("pack_linear_weight(Tensor weight) -> Tensor");
  m.def("pack_gate_up_weight(Tensor weight) -> Tensor");
  m.def("linear_packed(Tensor! out, Tensor input, Tensor packed, Tensor? bias) -> ()");
  m.def("linear_packed_silu_and_mul(Tensor! out, Tensor input, Tensor packed) -> ()");
  m.def("gather_packed_rows(Tensor! out, Tensor packed, Tensor ids) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("pack_linear_weight", TORCH_BOX(&pack_linear_weight));
  m.impl("pack_gate_up_weight", TORCH_BOX(&pack_gate_up_weight));
  m.impl("linear_packed", TORCH_BOX(&linear_packed));
  m.impl("linear_packed_silu_and_mul", TORCH_BOX(&linear_packed_silu_and_mul));
  m.impl("gather_packed_rows", TORCH_BOX(&gather_packed_rows));
}

}  // namespace vllm
