// What ops that multiply with scales of rows and columns have in common.
#pragma once

#include "bindings/device/call.h"
#include "bindings/scaled_mm.h"
#include "device/scaled_mm.h"

namespace vllm {

// Where products go: rows of 16 elements or a multiple of it, at such distances.
inline device::MmOutput ProductOutput(const DeviceCall& call, const TensorView& out,
                                      const std::optional<Tensor>& bias) {
  if (out.Size(1) % 16 != 0 || out.Stride(0) % 16 != 0 || !device::IsAligned(out.data, 16)) {
    Fail(out, "has rows of " + std::to_string(out.Size(1)) + ", " + std::to_string(out.Stride(0)) +
                  " apart, expected multiples of 16 from an address that is one");
  }
  device::MmOutput output{};
  output.data = out.data;
  output.stride = out.Stride(0);
  output.type = DeviceFloatType(out);
  if (bias) output.addend = CheckedBias(call.View("bias", *bias), out);
  return output;
}

// One scale, or one for each of mm.m rows and mm.n columns.
inline void SetRowScales(device::ScaledMm& mm, const TensorView& a_scales,
                         const TensorView& b_scales) {
  mm.a_scales = Values<float>(a_scales, ScalarType::Float, mm.m, true);
  mm.b_scales = Values<float>(b_scales, ScalarType::Float, mm.n, true);
  mm.a_scale_step = a_scales.Numel() == 1 ? 0 : 1;
  mm.b_scale_step = b_scales.Numel() == 1 ? 0 : 1;
}

}  // namespace vllm
