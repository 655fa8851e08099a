#include "device/peer_memory.h"

#include <cstring>
#include <stdexcept>
#include <string>

#if !defined(VLLM_DEVICE_EMULATED) && !defined(__HIP__)
#include <cuda.h>
#endif

namespace vllm::device {

#if defined(VLLM_DEVICE_EMULATED)

// Ranks are processes that inherited the memory: it lies at the same address in all of them.
SharedPlace ShareMemory(const char*, const void* memory) {
  SharedPlace place{{}, 0};
  memcpy(place.handle.data(), &memory, sizeof(memory));
  return place;
}
void* OpenMemory(const char*, const MemoryHandle& handle) {
  void* memory;
  memcpy(&memory, handle.data(), sizeof(memory));
  return memory;
}
void CloseMemory(void*) noexcept {}
bool IsCapturing(const char*, Stream) { return emulator::IsCapturing(); }
void CopyNow(const char*, void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); }
int DeviceAttribute(const char* op, int, int) {
  throw std::runtime_error(std::string(op) + ": there is no device");
}
int LargestSharedMemory(const char* op, int device) { return DeviceAttribute(op, 0, device); }

#else

namespace {

#if defined(__HIP__)

#define VLLM_RUNTIME(name) hip##name
using AttributeNumber = hipDeviceAttribute_t;
constexpr int kLargestSharedMemory = hipDeviceAttributeMaxSharedMemoryPerBlock;

void* AllocationOf(const char* op, const void* memory) {
  void* base = nullptr;
  CheckRuntime(op, hipPointerGetAttribute(&base, HIP_POINTER_ATTRIBUTE_RANGE_START_ADDR,
                                          const_cast<void*>(memory)));
  return base;
}

#else

#define VLLM_RUNTIME(name) cuda##name
using AttributeNumber = cudaDeviceAttr;
constexpr int kLargestSharedMemory = cudaDevAttrMaxSharedMemoryPerBlockOptin;

// The runtime does not tell where an allocation begins; the driver does, and is not linked.
void* AllocationOf(const char* op, const void* memory) {
  using Function = CUresult (*)(CUdeviceptr*, size_t*, CUdeviceptr);
  static const auto get_range = [op] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 12050
    CheckRuntime(op, cudaGetDriverEntryPointByVersion("cuMemGetAddressRange", &function, 12000,
                                                      cudaEnableDefault, &result));
#else
    CheckRuntime(
        op, cudaGetDriverEntryPoint("cuMemGetAddressRange", &function, cudaEnableDefault, &result));
#endif
    if (function == nullptr) {
      throw std::runtime_error(std::string(op) + ": the CUDA driver has no cuMemGetAddressRange");
    }
    return reinterpret_cast<Function>(function);
  }();
  CUdeviceptr base = 0;
  if (get_range(&base, nullptr, reinterpret_cast<CUdeviceptr>(memory)) != CUDA_SUCCESS) {
    throw std::runtime_error(std::string(op) + ": the buffer is no memory of a CUDA device");
  }
  return reinterpret_cast<void*>(base);
}

#endif

}  // namespace

SharedPlace ShareMemory(const char* op, const void* memory) {
  void* const base = AllocationOf(op, memory);
  VLLM_RUNTIME(IpcMemHandle_t) handle;
  CheckRuntime(op, VLLM_RUNTIME(IpcGetMemHandle)(&handle, base));
  SharedPlace place{{}, static_cast<const char*>(memory) - static_cast<const char*>(base)};
  static_assert(sizeof(handle) == sizeof(place.handle));
  memcpy(place.handle.data(), &handle, sizeof(handle));
  return place;
}

void* OpenMemory(const char* op, const MemoryHandle& bytes) {
  VLLM_RUNTIME(IpcMemHandle_t) handle;
  memcpy(&handle, bytes.data(), sizeof(handle));
  void* memory = nullptr;
  CheckRuntime(op, VLLM_RUNTIME(IpcOpenMemHandle)(&memory, handle,
                                                  VLLM_RUNTIME(IpcMemLazyEnablePeerAccess)));
  return memory;
}

void CloseMemory(void* memory) noexcept {
  if (VLLM_RUNTIME(IpcCloseMemHandle)(memory) != kSuccess) ForgetError();
}

bool IsCapturing(const char* op, Stream stream) {
  VLLM_RUNTIME(StreamCaptureStatus) status;
  CheckRuntime(op, VLLM_RUNTIME(StreamIsCapturing)(static_cast<NativeStream>(stream), &status));
  return status == VLLM_RUNTIME(StreamCaptureStatusActive);
}

void CopyNow(const char* op, void* to, const void* from, size_t bytes) {
  CheckRuntime(op, VLLM_RUNTIME(Memcpy)(to, from, bytes, VLLM_RUNTIME(MemcpyDefault)));
}

int DeviceAttribute(const char* op, int attribute, int device) {
  if (device < 0) CheckRuntime(op, VLLM_RUNTIME(GetDevice)(&device));
  int value = 0;
  CheckRuntime(op, VLLM_RUNTIME(DeviceGetAttribute)(&value, static_cast<AttributeNumber>(attribute),
                                                    device));
  return value;
}

int LargestSharedMemory(const char* op, int device) {
  return DeviceAttribute(op, kLargestSharedMemory, device);
}

#endif

}  // namespace vllm::device
