// The library's C interface, over the pool that DefaultPool() gives: for
// torch.cuda.memory.CUDAPluggableAllocator (cumem_malloc, cumem_free) and for ctypes (the rest).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "cumem/pool.h"

namespace vllm::cumem {
// Defined once per driver.
Pool& DefaultPool();
}  // namespace vllm::cumem

#define VLLM_CUMEM_EXPORT extern "C" __attribute__((visibility("default")))

// Called by torch; a failure is thrown as std::runtime_error, which torch turns into its own.
VLLM_CUMEM_EXPORT void* cumem_malloc(ssize_t bytes, int device, void* stream);
VLLM_CUMEM_EXPORT void cumem_free(void* pointer, ssize_t bytes, int device, void* stream);

// See Pool. These return 0, or -1 with the reason in cumem_error().
VLLM_CUMEM_EXPORT int cumem_set_tag(int64_t tag);
VLLM_CUMEM_EXPORT int cumem_release(int64_t tag);
VLLM_CUMEM_EXPORT int cumem_restore(int64_t tag);
VLLM_CUMEM_EXPORT size_t cumem_list(int64_t tag, uintptr_t* addresses, size_t* bytes,
                                    size_t capacity);
VLLM_CUMEM_EXPORT size_t cumem_mapped_bytes();
// Of the calling thread's last failure.
VLLM_CUMEM_EXPORT const char* cumem_error();
