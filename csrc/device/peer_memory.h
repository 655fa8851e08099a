// Memory of one process that other processes on the machine map, and what a device is like: host
// functions of the runtime that bindings need.
#pragma once

#include <array>

#include "device/compat.h"

namespace vllm::device {

// Names an allocation in other processes, as the runtime does.
using MemoryHandle = std::array<unsigned char, 64>;

struct SharedPlace {
  MemoryHandle handle;  // of the allocation
  int64_t offset;       // in bytes, within it
};
SharedPlace ShareMemory(const char* op, const void* memory);
// Another process's allocation, mapped here until CloseMemory.
void* OpenMemory(const char* op, const MemoryHandle& handle);
void CloseMemory(void* memory) noexcept;

// Whether launches on the stream are recorded for a graph instead of run.
bool IsCapturing(const char* op, Stream stream);
// As CopyAsync, for a moment without a stream; returns when it is done.
void CopyNow(const char* op, void* to, const void* from, size_t bytes);

// The value of the runtime's attribute number `attribute`; a negative device: the current one.
int DeviceAttribute(const char* op, int attribute, int device);
int LargestSharedMemory(const char* op, int device);

}  // namespace vllm::device
