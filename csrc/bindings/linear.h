// Packed weights in floating point, as ops take them.
#pragma once

#include "bindings/tensor.h"
#include "cpu/linear.h"

namespace vllm {

// The weight [n, k] behind `packed`, which must have been packed from one of that size.
LinearWeight PackedWeight(const TensorView& packed, int64_t n, int64_t k, PackOrder order);

}  // namespace vllm
