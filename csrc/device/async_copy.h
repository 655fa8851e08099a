// Copies of 4, 8 or 16 bytes from global to shared memory that pass no registers and are waited for
// in groups: cp.async on NVIDIA GPUs since sm_80, a load and a store elsewhere. A thread waits for
// its own copies; a barrier makes them visible to the others.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

#if VLLM_KERNELS

// Both pointers at multiples of kBytes; `to` lies in shared memory. 16 bytes pass by the
// first-level cache.
template <int kBytes = 16, typename T>
VLLM_DEVICE void CopyToShared(T* to, const T* from) {
#if defined(VLLM_DEVICE_EMULATED)
  emulator::CopyLater(to, from, kBytes);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(address), "l"(from), "n"(kBytes)
                 : "memory");
  }
#else
  StoreVector(to, LoadVector<kBytes / sizeof(T)>(from));
#endif
}

// The copies of this thread since the last call are a group.
VLLM_DEVICE void CommitCopies() {
#if defined(VLLM_DEVICE_EMULATED)
  emulator::CommitCopies();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Until at most `kNewer` of this thread's groups, the newest ones, are under way.
template <int kNewer>
VLLM_DEVICE void WaitForCopies() {
#if defined(VLLM_DEVICE_EMULATED)
  emulator::WaitForCopies(kNewer);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kNewer) : "memory");
#endif
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
