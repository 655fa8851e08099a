// The instruction set that kernels run with: the best one of this CPU, or the one that VLLM_CPU_ISA
// names. In a kernel file this comes after hwy/foreach_target.h, which must see hwy/highway.h
// first.
#pragma once

#include <hwy/highway.h>

namespace vllm {

// Own choice instead of hwy::GetChosenTarget(), which other users of libhwy in the process share.
// Throws std::runtime_error where VLLM_CPU_ISA is unknown or not supported by this CPU.
const hwy::ChosenTarget& CpuTarget();

// Whether kernels for a target that does not imply VNNI, AVX3 or AVX2, use it. Throws as CpuTarget
// does.
bool UseVnni();

}  // namespace vllm

// The function exported by HWY_EXPORT(FUNC), compiled for the chosen instruction set.
#if (HWY_TARGETS & (HWY_TARGETS - 1)) == 0
#define VLLM_DISPATCH(FUNC) (&HWY_STATIC_DISPATCH(FUNC))
#else
#define VLLM_DISPATCH(FUNC) (HWY_DISPATCH_TABLE(FUNC)[::vllm::CpuTarget().GetIndex()])
#endif
