// Where the rows (innermost, contiguous dimension) of a strided tensor lie.
#pragma once

#include <cstdint>

namespace vllm {

// Up to three leading dimensions, strides in elements; unused outer ones have size 1.
struct RowLayout {
  int64_t sizes[3] = {1, 1, 1};
  int64_t strides[3] = {0, 0, 0};

  int64_t Count() const { return sizes[0] * sizes[1] * sizes[2]; }

  int64_t Offset(int64_t row) const {
    if (sizes[0] * sizes[1] == 1) return row * strides[2];
    const int64_t outer = row / sizes[2];
    return outer / sizes[1] * strides[0] + outer % sizes[1] * strides[1] +
           row % sizes[2] * strides[2];
  }
};

}  // namespace vllm
