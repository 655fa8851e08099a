// Whether linear layers multiply bf16 by AMX (cpu/amx_tile.h).
#pragma once

namespace vllm {

// True where VLLM_CPU_ISA names AMX. Where it names nothing: whether the CPU has AMX and a trial,
// made once in a process, gave the sums that it must. Throws as CpuIsaName
// does (core/isa_name.h).
bool UseAmx();

}  // namespace vllm
