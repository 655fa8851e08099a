// What the bindings of the GPTQ, AWQ and Marlin ops share.
#pragma once

#include "bindings/device/call.h"
#include "device/wna16.h"

namespace vllm {

// Packed words: int32, contiguous, of this shape.
const uint32_t* Words(const TensorView& view, std::initializer_list<int64_t> shape,
                      const char* meaning);

// int32 [rows], or nullptr where the tensor is empty.
const int32_t* RowNumbers(const TensorView& view, int64_t rows);

// [m, k], bf16 or f16, in rows that can be read in vectors.
void CheckActivations(const TensorView& a);

// Sets all that follows from [groups, n] scales, bf16 or f16: groups of equal size.
void SetScales(device::QuantizedMatrix& weight, const TensorView& scales, int64_t k);

device::CodeType UnsignedCodes(const DeviceCall& call, int64_t bits);

// A permuted copy where there is a permutation, else `a` itself.
Tensor WithColumns(const DeviceCall& call, const Tensor& a, const int32_t* permutation);

// out = a weight (+ bias): by the kernel for few rows, else by torch over the dequantised weight.
void Multiply(const DeviceCall& call, const Tensor& a, const device::QuantizedMatrix& weight,
              const void* bias, Tensor& out);

// [k, n] of `like`'s type.
Tensor Dequantized(const DeviceCall& call, const Tensor& like,
                   const device::QuantizedMatrix& weight);

}  // namespace vllm
