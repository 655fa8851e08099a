// Products of bytes by Hopper's own instructions (wgmma, TMA), which CUTLASS knows how to use. They
// are in libraries that were built with its headers for sm_90a (VLLM_HOPPER).
#pragma once

#include "device/scaled_mm.h"

namespace vllm::hopper {

// Does what device::RunScaledMm does, where the current device is a Hopper and these kernels take
// the product: more than 64 rows, out of bf16 or f16, scales and bias at multiples of 16 bytes.
// False: nothing was queued. Throws where the launch is refused.
bool RunScaledMm(const device::ScaledMm& mm);

}  // namespace vllm::hopper
