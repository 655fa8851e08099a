// A check that the norms of the CPU and of devices share.
#pragma once

#include "bindings/tensor.h"

namespace vllm {

// The weight of a norm: [hidden], or one such row for each of input's outermost dimension. Gives
// the number of rows of `input` that each row of the weight serves, at least 1.
inline int64_t CheckNormWeight(const TensorView& weight, const TensorView& input) {
  CheckSameType(weight, input);
  CheckContiguous(weight);
  const int64_t hidden = input.Size(-1), outer = input.dim > 1 ? input.Size(0) : 1;
  const int64_t rows = hidden > 0 ? input.Numel() / hidden : 0;
  const bool batched = weight.dim == 2 && input.dim > 1;
  if (batched) {
    CheckShape(weight, {outer, hidden}, "[first dimension of input, last dimension of input]");
  } else {
    CheckShape(weight, {hidden}, "the last dimension of input");
  }
  const int64_t each = batched && outer > 0 ? rows / outer : rows;
  return each > 0 ? each : 1;
}

}  // namespace vllm
