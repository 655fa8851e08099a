#include "bindings/quantized_linear.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/recording.h"
#include "cpu/quantize_weight.h"
#include "cpu/quantized_linear.h"

namespace vllm {
namespace {

int64_t CheckedGroupSize(const TensorView& codes, int64_t bits, int64_t group_size) {
  if (bits != 4 && bits != 8) {
    Fail(codes, "is to be packed with bits " + std::to_string(bits) + ", expected 4 or 8");
  }
  const int64_t k = codes.Size(1), padded_k = (k + 7) / 8 * 8;
  if (group_size != -1 && (group_size < 8 || group_size % 8 != 0)) {
    Fail(codes, "is to be packed with group_size " + std::to_string(group_size) +
                    ", expected a multiple of 8, or -1 for one group a row");
  }
  const int64_t size = group_size == -1 ? padded_k : std::min(group_size, padded_k);
  if (k == 0 || size > kMaxGroupSize) {
    Fail(codes, "has " + std::to_string(k) + " columns, " + std::to_string(size) +
                    " of them in a group, expected 1 to " + std::to_string(kMaxGroupSize));
  }
  return size;
}

void CheckCodes(const TensorView& codes, int64_t bits) {
  CheckContiguous(codes);
  const uint8_t* data = codes.Data<uint8_t>();
  if (bits == 4 && std::any_of(data, data + codes.Numel(), [](uint8_t code) { return code > 15; }))
    Fail(codes, "has codes above 15, expected 4-bit codes, one in a byte");
}

const int32_t* CheckedPermutation(const TensorView& permutation, int64_t k) {
  CheckType(permutation, ScalarType::Int);
  CheckShape(permutation, {k}, "[columns of codes]");
  CheckContiguous(permutation);
  std::vector<bool> seen(static_cast<size_t>(k));
  for (int64_t i = 0; i < k; ++i) {
    const int32_t column = permutation.Data<int32_t>()[i];
    if (column < 0 || column >= k || seen[static_cast<size_t>(column)]) {
      Fail(permutation, "has " + std::to_string(column) + " at " + std::to_string(i) +
                            ", expected each column below " + std::to_string(k) + " once");
    }
    seen[static_cast<size_t>(column)] = true;
  }
  return permutation.Data<int32_t>();
}

Tensor pack_quantized_weight(const Tensor& codes_tensor, const Tensor& scales_tensor,
                             const std::optional<Tensor>& zeros_tensor,
                             const std::optional<Tensor>& permutation_tensor, int64_t bits,
                             int64_t group_size, bool gate_up) {
  const char* op = "pack_quantized_weight";
  const TensorView codes = View(op, "codes", codes_tensor);
  CheckType(codes, ScalarType::Byte);
  CheckDim(codes, 2);
  QuantizedWeight weight{};
  weight.n = codes.Size(0);
  weight.k = codes.Size(1);
  weight.group_size = CheckedGroupSize(codes, bits, group_size);
  weight.bits = static_cast<int>(bits);
  weight.order = gate_up ? PackOrder::kGateUp : PackOrder::kPlain;
  CheckCodes(codes, bits);
  if (gate_up && weight.n % 2 != 0) {
    Fail(codes, "has " + std::to_string(weight.n) +
                    " rows, expected an even number: gate rows, then as many up rows");
  }
  const TensorView scales = View(op, "scales", scales_tensor);
  CheckType(scales, ScalarType::Float);
  CheckContiguous(scales);
  const bool by_row = scales.dim == 2 && scales.Size(1) == 1 && bits == 8 && !zeros_tensor;
  weight.scaled = !by_row;
  CheckShape(scales, {weight.n, by_row ? 1 : weight.Groups()}, "[rows of codes, groups]");
  QuantizedSource source{codes.Data<uint8_t>(), scales.Data<float>(), nullptr};
  if (zeros_tensor) {
    const TensorView zeros = View(op, "zeros", *zeros_tensor);
    CheckType(zeros, ScalarType::Int);
    CheckShape(zeros, {weight.n, weight.Groups()}, "[rows of codes, groups]");
    CheckContiguous(zeros);
    weight.zeroed = true;
    source.zeros = zeros.Data<int32_t>();
  }
  if (permutation_tensor) {
    weight.permutation = CheckedPermutation(View(op, "permutation", *permutation_tensor), weight.k);
  }
  const int64_t size = weight.PackedBytes();
  Tensor packed = torch::stable::new_empty(codes_tensor, {size});
  PackQuantizedWeight(weight, source, packed.data_ptr());
  return packed;
}

std::tuple<Tensor, Tensor> quantize_weight(const Tensor& weight, int64_t bits) {
  const TensorView w = View("quantize_weight", "weight", weight);
  const DType dtype = FloatType(w);
  CheckDim(w, 2);
  CheckLastContiguous(w);
  if (bits != 4 && bits != 8) {
    Fail(w, "is to be quantised with bits " + std::to_string(bits) + ", expected 4 or 8");
  }
  const int64_t n = w.Size(0), k = w.Size(1);
  const int64_t groups = bits == 8 ? 1 : (k + kInt4Group - 1) / kInt4Group;
  Tensor codes = torch::stable::new_empty(weight, {n, k}, ScalarType::Byte);
  Tensor scales = torch::stable::new_empty(weight, {n, groups}, ScalarType::Float);
  const QuantizeWeightArgs args{w.data,
                                dtype,
                                w.Stride(0),
                                n,
                                k,
                                static_cast<uint8_t*>(codes.data_ptr()),
                                static_cast<float*>(scales.data_ptr())};
  bits == 8 ? QuantizeWeightRows(args) : QuantizeWeightGroups(args);
  return {codes, scales};
}

}  // namespace

QuantizedWeight ReadQuantized(const TensorView& packed, int64_t n, int64_t k, PackOrder order) {
  CheckType(packed, ScalarType::Byte);
  CheckDim(packed, 1);
  CheckContiguous(packed);
  QuantizedWeight weight;
  if (!ReadQuantizedWeight(packed.data, packed.Size(0), weight)) {
    Fail(packed, "of bytes is not a packed weight: pack it with pack_quantized_weight");
  }
  if ((n >= 0 && weight.n != n) || weight.k != k || weight.order != order) {
    Fail(packed, "is a packed weight of " + std::to_string(weight.n) + " x " +
                     std::to_string(weight.k) +
                     (weight.order == PackOrder::kGateUp ? " for silu_and_mul" : "") +
                     ", which does not fit the sizes of out and input");
  }
  return weight;
}

void RunQuantized(const TensorView& out, const TensorView& input, const TensorView& packed,
                  const TensorView* bias, int64_t n, PackOrder order) {
  const QuantizedWeight weight = ReadQuantized(packed, n, input.Size(1), order);
  const QuantizedLinearArgs args{weight,        input.data,      FloatType(input),
                                 input.Size(0), input.Stride(0), bias ? bias->data : nullptr,
                                 out.data,      out.Stride(0),   FloatType(out)};
  Launch([args] { QuantizedLinear(args); });
}

void GatherQuantized(const TensorView& out, const TensorView& packed, const TensorView& ids) {
  const QuantizedWeight weight = ReadQuantized(packed, -1, out.Size(1), PackOrder::kPlain);
  CheckIds(ids, weight.n);
  Launch([=, ids = ids.Data<const int64_t>(), count = ids.Size(0), to = out.data,
          stride = out.Stride(0),
          dtype = FloatType(out)] { GatherQuantizedRows(weight, ids, count, to, stride, dtype); });
}

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def("quantize_weight(Tensor weight, int bits) -> (Tensor, Tensor)");
  m.def(
      "pack_quantized_weight(Tensor codes, Tensor scales, Tensor? zeros, Tensor? permutation, "
      "int bits, int group_size, bool gate_up) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("quantize_weight", TORCH_BOX(&quantize_weight));
  m.impl("pack_quantized_weight", TORCH_BOX(&pack_quantized_weight));
}

}  // namespace vllm
