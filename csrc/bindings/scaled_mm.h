// What both devices check of the arguments of quantisation and of scaled products.
#pragma once

#include <optional>
#include <string>

#include "bindings/tensor.h"

namespace vllm {

// The values of `tensor`: `count` of them, or where `or_one` says so a single one.
template <typename T>
T* Values(const TensorView& tensor, ScalarType type, int64_t count, bool or_one = false) {
  CheckType(tensor, type);
  CheckContiguous(tensor);
  if (tensor.Numel() != count && !(or_one && tensor.Numel() == 1)) {
    Fail(tensor, "has shape " + ShapeString(tensor) + ", expected " + std::to_string(count) +
                     (count == 1 ? " value" : " values"));
  }
  return tensor.Data<T>();
}

// Where one value for all is written: the first of a tensor that may have room for one a row.
inline float* FirstValue(const TensorView& tensor) {
  CheckType(tensor, ScalarType::Float);
  if (tensor.Numel() < 1) Fail(tensor, "has shape " + ShapeString(tensor) + ", expected a value");
  return tensor.Data<float>();
}

// out [m, n] = a [m, k] b [k, n]: b is the transpose of a weight's rows.
inline void CheckScaledMm(const TensorView& out, const TensorView& a, const TensorView& b,
                          ScalarType type) {
  CheckType(a, type);
  CheckType(b, type);
  CheckDim(a, 2);
  CheckShape(b, {a.Size(1), -1}, "[columns of a, columns of out]");
  CheckShape(out, {a.Size(0), b.Size(1)}, "[rows of a, columns of b]");
  CheckLastContiguous(a);
  CheckLastContiguous(out);
  if (b.Stride(0) != 1 && b.Size(0) > 1) {
    Fail(b, "has stride " + std::to_string(b.Stride(0)) +
                " in its first dimension, expected 1: a weight's transpose");
  }
}

// One value for each column of out, of its type: [n] or [1, n].
inline const void* CheckedBias(const TensorView& bias, const TensorView& out) {
  CheckSameType(bias, out);
  if (bias.Numel() != out.Size(1)) CheckShape(bias, {out.Size(1)}, "[columns of out]");
  CheckContiguous(bias);
  return bias.data;
}

// Of a and of b on GPUs: `size` bytes of each row at multiples of 16 bytes, `stride` apart.
inline const uint8_t* ByteRows(const TensorView& tensor, int64_t size, int64_t stride) {
  if (reinterpret_cast<uintptr_t>(tensor.data) % 16 != 0 || stride % 16 != 0 || size % 16 != 0) {
    Fail(tensor, "has rows of " + std::to_string(size) + " bytes, " + std::to_string(stride) +
                     " apart, expected multiples of 16 from an address that is one");
  }
  return tensor.Data<uint8_t>();
}

}  // namespace vllm
