// Flags that GPUs write into each other's memory: what a thread, or its block before a barrier,
// wrote before StoreFlag is visible after the AwaitFlag that sees it, on every GPU of the machine.
#pragma once

#include "device/compat.h"

#if defined(VLLM_DEVICE_EMULATED)
#include <sched.h>
#endif

namespace vllm::device {

#if VLLM_KERNELS

VLLM_DEVICE void StoreFlag(uint32_t* flag, uint32_t value) {
#if defined(VLLM_DEVICE_EMULATED)
  __atomic_store_n(flag, value, __ATOMIC_RELEASE);
#elif defined(__HIP__)
  __threadfence_system();
  __hip_atomic_store(flag, value, __ATOMIC_RELEASE, __HIP_MEMORY_SCOPE_SYSTEM);
#else
  asm volatile("st.release.sys.global.u32 [%0], %1;" : : "l"(flag), "r"(value) : "memory");
#endif
}

VLLM_DEVICE uint32_t LoadFlag(const uint32_t* flag) {
#if defined(VLLM_DEVICE_EMULATED)
  return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
#elif defined(__HIP__)
  return __hip_atomic_load(flag, __ATOMIC_ACQUIRE, __HIP_MEMORY_SCOPE_SYSTEM);
#else
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
  return value;
#endif
}

VLLM_DEVICE void AwaitFlag(const uint32_t* flag, uint32_t value) {
  while (LoadFlag(flag) != value) {
#if defined(VLLM_DEVICE_EMULATED)
    sched_yield();  // ranks are processes there
#endif
  }
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
