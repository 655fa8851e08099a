#include "core/amx.h"

#if defined(VLLM_CPU_AMXBF16) && !defined(VLLM_CPU_AMX_EMULATED)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace vllm {
namespace {

bool CpuHasAmx() {
  unsigned a, b, c, d;
  constexpr unsigned kSavesState = 1u << 27, kBf16 = 1u << 22, kTile = 1u << 24;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kSavesState)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & kBf16) || !(d & kTile)) return false;
  unsigned low, high;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kTileState = 3u << 17;
  return (low & kTileState) == kTileState;
}

// Linux gives the large tile state only to processes that ask for it (its documentation's
// "Using XSTATE features in user space applications").
bool AskForTileState() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool AmxAvailable() {
  static const bool available = CpuHasAmx() && AskForTileState();
  return available;
}

}  // namespace vllm

#else

namespace vllm {

bool AmxAvailable() {
#if defined(VLLM_CPU_AMXBF16)
  return true;  // tests emulate it
#else
  return false;
#endif
}

}  // namespace vllm

#endif
