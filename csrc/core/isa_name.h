// Instruction sets by name, as VLLM_CPU_ISA spells them; core/isa.h chooses kernels by them.
#pragma once

#include <string_view>

namespace vllm {

// AMX multiplies matrices only (cpu/amx_trial.h says whether it does): everything else runs the
// best other instruction set.
inline constexpr std::string_view kAmxIsa = "amx";

// What VLLM_CPU_ISA names; empty where it is unset.
std::string_view WantedCpuIsa();

// The chosen instruction set, AMX aside. Throws std::runtime_error where VLLM_CPU_ISA is unknown or
// not supported by this CPU.
const char* CpuIsaName();

}  // namespace vllm
