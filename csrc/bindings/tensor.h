// What every binding needs of a tensor, read once, and the checks over it.
// A failed check throws std::runtime_error (RuntimeError in Python): "<op>: <tensor> ..., expected
// ...".
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/dtype.h"
#include "core/rows.h"

namespace vllm {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

struct TensorView {
  const char* op;    // for messages
  const char* name;  // for messages
  void* data;
  int64_t dim;
  const int64_t* sizes;
  const int64_t* strides;  // in elements
  int32_t scalar_type;     // a ScalarType, or -1 for one that no op takes

  template <typename T>
  T* Data() const {
    return static_cast<T*>(data);
  }
  // Negative indices count from the last dimension.
  int64_t Size(int64_t i) const { return sizes[i < 0 ? i + dim : i]; }
  int64_t Stride(int64_t i) const { return strides[i < 0 ? i + dim : i]; }
  int64_t Numel() const;
  bool Is(ScalarType type) const { return scalar_type == static_cast<int32_t>(type); }
};

// Borrows; the tensor must be on the CPU and outlive the view.
TensorView View(const char* op, const char* name, const Tensor& tensor);
// As View, without the check of the device: `data` may not be readable here.
TensorView ViewOnAnyDevice(const char* op, const char* name, const Tensor& tensor);

[[noreturn]] void Fail(const TensorView& tensor, const std::string& given_and_expected);

std::string ShapeString(const TensorView& tensor);

// Must be float32, bfloat16 or float16.
DType FloatType(const TensorView& tensor);
void CheckSameType(const TensorView& tensor, const TensorView& like);
void CheckType(const TensorView& tensor, ScalarType type);
void CheckDim(const TensorView& tensor, int64_t dim);
// -1 matches any size. `meaning` explains the shape, as in "[tokens, heads]".
void CheckShape(const TensorView& tensor, std::initializer_list<int64_t> shape,
                const char* meaning);
void CheckSameShape(const TensorView& tensor, const TensorView& like);
// Elements of the last dimension must be adjacent.
void CheckLastContiguous(const TensorView& tensor);
void CheckContiguous(const TensorView& tensor);

// Rows of all but the last dimension, which must be contiguous. Leading dimensions may have any
// strides as long as they merge into three or fewer.
RowLayout Rows(const TensorView& tensor);

}  // namespace vllm
