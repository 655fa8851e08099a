// VNNI, the products of 8-bit integers of x86: csrc/cpu/quantized_tile-inl.h uses it where
// Highway's targets do not say whether a CPU has it.
#pragma once

namespace vllm {

// Whether this build has kernels for it and this CPU has it. That AVX-512 or AVX2 can be used is
// for the caller to know.
bool Avx512VnniAvailable();  // of Cascade Lake and later
bool AvxVnniAvailable();     // in 256 bits without AVX-512, of Alder Lake and later

}  // namespace vllm
