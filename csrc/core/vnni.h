// VNNI with AVX-512, the products of 8-bit integers of Intel's CPUs from Cascade Lake on. Highway
// knows it only together with more that Cascade Lake lacks: csrc/cpu/quantized_tile-inl.h adds it
// to AVX3.
#pragma once

namespace vllm {

// Whether this build's kernels for AVX-512 can use it and this CPU has it. That AVX-512 itself can
// be used is for the caller to know.
bool VnniAvailable();

}  // namespace vllm
