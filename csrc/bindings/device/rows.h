// Rows, scales and types that the bindings of row-wise device kernels share.
#pragma once

#include "bindings/device/call.h"
#include "device/quantize.h"

namespace vllm {

// All but the last dimension, which must be contiguous; see Rows() in bindings/tensor.h.
device::Rows DeviceRows(const TensorView& tensor);

// e4m3 or int8.
device::Type QuantizedType(const TensorView& tensor);

// f32, one value a row: [rows], [rows, 1] or [..., 1], contiguous.
float* RowScales(const TensorView& scale, int64_t rows);

// f32 [rows, size / group_size] with any strides, or where they are `transposed` and contiguous the
// other way round; group_size divides size and is a power of two that a wave covers.
device::GroupScales GroupScalesOf(const TensorView& scales, int64_t rows, const TensorView& input,
                                  int64_t size, int64_t group_size, bool transposed = false);

// nullptr without one.
const float* OptionalScalar(const DeviceCall& call, const char* name,
                            const std::optional<Tensor>& tensor);

}  // namespace vllm
