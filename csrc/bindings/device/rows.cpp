#include "bindings/device/rows.h"

namespace vllm {

device::Rows DeviceRows(const TensorView& tensor) {
  const RowLayout layout = Rows(tensor);
  return {tensor.data,
          {layout.sizes[0], layout.sizes[1], layout.sizes[2]},
          {layout.strides[0], layout.strides[1], layout.strides[2]}};
}

device::Type QuantizedType(const TensorView& tensor) {
  if (tensor.Is(ScalarType::Char)) return device::Type::kInt8;
  CheckType(tensor, ScalarType::Float8_e4m3fn);
  return device::Type::kFp8E4M3;
}

float* RowScales(const TensorView& scale, int64_t rows) {
  CheckType(scale, ScalarType::Float);
  CheckContiguous(scale);
  if (scale.Numel() != rows) {
    Fail(scale, "has shape " + ShapeString(scale) + ", expected one value for each of " +
                    std::to_string(rows) + " rows");
  }
  return scale.Data<float>();
}

device::GroupScales GroupScalesOf(const TensorView& scales, int64_t rows, const TensorView& input,
                                  int64_t size, int64_t group_size, bool transposed) {
  const bool power = group_size > 0 && (group_size & (group_size - 1)) == 0;
  const int64_t vector = input.Is(ScalarType::Float) ? 4 : 8;
  if (!power || group_size < vector || group_size > 32 * vector || size % group_size != 0) {
    Fail(input, "comes with group_size " + std::to_string(group_size) +
                    ", expected a power of two from " + std::to_string(vector) + " to " +
                    std::to_string(32 * vector) + " that divides " + std::to_string(size));
  }
  CheckType(scales, ScalarType::Float);
  const int64_t groups = size / group_size, dim = scales.dim;
  if (transposed && dim == 2 && scales.sizes[0] == groups && scales.sizes[1] == rows &&
      scales.strides[0] == rows && scales.strides[1] == 1) {
    return {scales.Data<float>(), 1, rows, static_cast<int>(group_size)};
  }
  int64_t scale_rows = 1;
  for (int64_t i = 0; i + 1 < dim; ++i) scale_rows *= scales.sizes[i];
  bool merges = dim >= 1;
  for (int64_t i = 0; i + 2 < dim; ++i) {
    merges = merges && scales.strides[i] == scales.sizes[i + 1] * scales.strides[i + 1];
  }
  if (!merges || scales.Size(-1) != groups || scale_rows != rows) {
    Fail(scales, "has shape " + ShapeString(scales) + ", expected [" + std::to_string(rows) + ", " +
                     std::to_string(groups) + "] = [rows, groups of a row]");
  }
  return {scales.Data<float>(), dim >= 2 ? scales.Stride(-2) : 0, scales.Stride(-1),
          static_cast<int>(group_size)};
}

const float* OptionalScalar(const DeviceCall& call, const char* name,
                            const std::optional<Tensor>& tensor) {
  return tensor ? DeviceScalar(call.View(name, *tensor)) : nullptr;
}

}  // namespace vllm
