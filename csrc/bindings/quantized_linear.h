// Packed weights of 4- and 8-bit codes where the ops of bindings/linear.cpp take a packed weight.
#pragma once

#include "bindings/tensor.h"
#include "cpu/quantized_linear.h"

namespace vllm {

// Whether `packed` holds codes rather than floating point elements.
inline bool IsQuantized(const TensorView& packed) { return packed.Is(ScalarType::Byte); }

// The weight behind packed bytes, which must be of n rows (-1: any number) and k columns.
QuantizedWeight ReadQuantized(const TensorView& packed, int64_t n, int64_t k, PackOrder order);

// The arguments are checked against the weight; `n` counts its rows.
void RunQuantized(const TensorView& out, const TensorView& input, const TensorView& packed,
                  const TensorView* bias, int64_t n, PackOrder order);

// Each of ids must be the number of a row, below `rows`.
void CheckIds(const TensorView& ids, int64_t rows);

// Ids must lie in the weight's rows, which this checks.
void GatherQuantized(const TensorView& out, const TensorView& packed, const TensorView& ids);

}  // namespace vllm
