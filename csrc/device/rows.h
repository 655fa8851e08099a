// Where the rows (innermost, contiguous dimension) of a strided tensor lie; as core/rows.h, for
// device code.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

// Up to three leading dimensions, strides in elements; unused outer ones have size 1.
struct Rows {
  void* data;
  int64_t sizes[3];
  int64_t strides[3];

  int64_t Count() const { return sizes[0] * sizes[1] * sizes[2]; }

  // Whether every row can be read in vectors of `vector` elements of `element` bytes.
  bool Aligned(int vector, size_t element) const {
    const size_t bytes = static_cast<size_t>(vector) * element;
    return IsAligned(data, bytes < 16 ? bytes : 16) && strides[0] % vector == 0 &&
           strides[1] % vector == 0 && strides[2] % vector == 0;
  }

  template <typename T>
  VLLM_DEVICE T* Row(int64_t row) const {
    int64_t offset;
    if (sizes[0] * sizes[1] == 1) {
      offset = row * strides[2];
    } else {
      const int64_t outer = row / sizes[2];
      offset = outer / sizes[1] * strides[0] + outer % sizes[1] * strides[1] +
               row % sizes[2] * strides[2];
    }
    return static_cast<T*>(data) + offset;
  }
};

}  // namespace vllm::device
