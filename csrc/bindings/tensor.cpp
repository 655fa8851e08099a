#include "bindings/tensor.h"

#include <array>
#include <stdexcept>

namespace vllm {
namespace {

const char* TypeName(int32_t scalar_type) {
  switch (static_cast<ScalarType>(scalar_type)) {
    case ScalarType::Float:
      return "float32";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Half:
      return "float16";
    case ScalarType::Double:
      return "float64";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Short:
      return "int16";
    case ScalarType::Char:
      return "int8";
    case ScalarType::Byte:
      return "uint8";
    case ScalarType::Bool:
      return "bool";
    case ScalarType::Float8_e4m3fn:
      return "float8_e4m3fn";
    case ScalarType::Float8_e5m2:
      return "float8_e5m2";
    default:
      return "another dtype";
  }
}

// ScalarType of a dtype code, as the stable ABI passes dtypes; -1 for types that no op takes. The
// codes are asked for once: torch's own conversion asks for one after the other in every call.
int32_t TypeOfCode(int32_t code) {
  static const auto types = [] {
    std::array<int8_t, 64> table;
    table.fill(-1);
    for (ScalarType type :
         {ScalarType::Float, ScalarType::BFloat16, ScalarType::Half, ScalarType::Double,
          ScalarType::Long, ScalarType::Int, ScalarType::Short, ScalarType::Char, ScalarType::Byte,
          ScalarType::Bool, ScalarType::Float8_e4m3fn, ScalarType::Float8_e5m2}) {
      const int32_t its_code =
          torch::stable::detail::to<int32_t>(torch::stable::detail::from(type));
      table.at(static_cast<size_t>(its_code)) = static_cast<int8_t>(type);
    }
    return table;
  }();
  return code >= 0 && code < static_cast<int32_t>(types.size()) ? types[static_cast<size_t>(code)]
                                                                : -1;
}

std::string ListString(const int64_t* values, int64_t count) {
  std::string text = "[";
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) text += ", ";
    text += values[i] < 0 ? std::string("any") : std::to_string(values[i]);
  }
  return text + "]";
}

}  // namespace

TensorView ViewOnAnyDevice(const char* op, const char* name, const Tensor& tensor) {
  TensorView view{op, name, nullptr, 0, nullptr, nullptr, 0};
  const AtenTensorHandle handle = tensor.get();
  int64_t* sizes = nullptr;
  int64_t* strides = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(handle, &view.data));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dim(handle, &view.dim));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_sizes(handle, &sizes));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_strides(handle, &strides));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(handle, &view.scalar_type));
  view.sizes = sizes;
  view.strides = strides;
  view.scalar_type = TypeOfCode(view.scalar_type);
  return view;
}

int64_t TensorView::Numel() const {
  int64_t count = 1;
  for (int64_t i = 0; i < dim; ++i) count *= sizes[i];
  return count;
}

void Fail(const TensorView& tensor, const std::string& given_and_expected) {
  throw std::runtime_error(std::string(tensor.op) + ": " + tensor.name + " " + given_and_expected);
}

std::string ShapeString(const TensorView& tensor) { return ListString(tensor.sizes, tensor.dim); }

DType FloatType(const TensorView& tensor) {
  switch (static_cast<ScalarType>(tensor.scalar_type)) {
    case ScalarType::Float:
      return DType::kFloat32;
    case ScalarType::BFloat16:
      return DType::kBFloat16;
    case ScalarType::Half:
      return DType::kFloat16;
    default:
      Fail(tensor, std::string("is ") + TypeName(tensor.scalar_type) +
                       ", expected float32, bfloat16 or float16");
  }
}

void CheckSameType(const TensorView& tensor, const TensorView& like) {
  if (tensor.scalar_type == like.scalar_type) return;
  Fail(tensor, std::string("is ") + TypeName(tensor.scalar_type) + ", expected " +
                   TypeName(like.scalar_type) + " as " + like.name + " is");
}

void CheckType(const TensorView& tensor, ScalarType type) {
  if (tensor.Is(type)) return;
  Fail(tensor, std::string("is ") + TypeName(tensor.scalar_type) + ", expected " +
                   TypeName(static_cast<int32_t>(type)));
}

void CheckDim(const TensorView& tensor, int64_t dim) {
  if (tensor.dim == dim) return;
  Fail(tensor,
       "has shape " + ShapeString(tensor) + ", expected " + std::to_string(dim) + " dimensions");
}

void CheckShape(const TensorView& tensor, std::initializer_list<int64_t> shape,
                const char* meaning) {
  bool same = tensor.dim == static_cast<int64_t>(shape.size());
  for (int64_t i = 0; same && i < tensor.dim; ++i) {
    const int64_t expected = shape.begin()[i];
    same = expected < 0 || expected == tensor.sizes[i];
  }
  if (same) return;
  Fail(tensor, "has shape " + ShapeString(tensor) + ", expected " +
                   ListString(shape.begin(), static_cast<int64_t>(shape.size())) + " = " + meaning);
}

void CheckSameShape(const TensorView& tensor, const TensorView& like) {
  bool same = tensor.dim == like.dim;
  for (int64_t i = 0; same && i < tensor.dim; ++i) same = tensor.sizes[i] == like.sizes[i];
  if (same) return;
  Fail(tensor, "has shape " + ShapeString(tensor) + ", expected " + ShapeString(like) + " as " +
                   like.name + " has");
}

void CheckLastContiguous(const TensorView& tensor) {
  if (tensor.dim == 0) Fail(tensor, "is a scalar, expected at least 1 dimension");
  if (tensor.Stride(-1) == 1 || tensor.Size(-1) <= 1) return;
  Fail(tensor, "has stride " + std::to_string(tensor.Stride(-1)) +
                   " in its last dimension, expected 1; call .contiguous() first");
}

void CheckContiguous(const TensorView& tensor) {
  int64_t expected = 1;
  for (int64_t i = tensor.dim - 1; i >= 0; --i) {
    if (tensor.sizes[i] == 0) return;
    if (tensor.sizes[i] > 1 && tensor.strides[i] != expected) {
      Fail(tensor, "has strides " + ListString(tensor.strides, tensor.dim) +
                       ", expected a contiguous tensor; call .contiguous() first");
    }
    expected *= tensor.sizes[i];
  }
}

RowLayout Rows(const TensorView& tensor) {
  CheckLastContiguous(tensor);
  RowLayout rows;
  int64_t slot = 2;
  for (int64_t i = tensor.dim - 2; i >= 0; --i) {
    const int64_t size = tensor.sizes[i];
    const int64_t stride = tensor.strides[i];
    if (size == 1) continue;
    if (rows.sizes[slot] == 1) {
      rows.sizes[slot] = size;
      rows.strides[slot] = stride;
    } else if (stride == rows.sizes[slot] * rows.strides[slot]) {
      rows.sizes[slot] *= size;
    } else if (slot > 0) {
      --slot;
      rows.sizes[slot] = size;
      rows.strides[slot] = stride;
    } else {
      Fail(tensor, "has strides " + ListString(tensor.strides, tensor.dim) +
                       " whose leading dimensions do not merge into 3; call .contiguous() first");
    }
  }
  return rows;
}

}  // namespace vllm
