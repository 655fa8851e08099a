// AMX, the tile registers of Intel's Xeons from Sapphire Rapids on: csrc/cpu/amx_tile.h uses them.
#pragma once

namespace vllm {

// Whether this build has kernels for AMX, this CPU and its operating system have it with bf16, and
// this process may use it.
bool AmxAvailable();

}  // namespace vllm
