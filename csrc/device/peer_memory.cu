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
bool IsCapturing(const char*, Stream) { return false; }
void CopyNow(const char*, void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); }
int DeviceAttribute(const char* op, int, int) {
  throw std::runtime_error(std::string(op) + ": there is no device");
}
int LargestSharedMemory(const char* op, int device) { return DeviceAttribute(op, 0, device); }

#elif defined(__HIP__)

namespace {
int DeviceOr(const char* op, int device) {
  if (device < 0) CheckRuntime(op, hipGetDevice(&device));
  return device;
}
}  // namespace

SharedPlace ShareMemory(const char* op, const void* memory) {
  void* const address = const_cast<void*>(memory);
  void* base = nullptr;
  CheckRuntime(op, hipPointerGetAttribute(&base, HIP_POINTER_ATTRIBUTE_RANGE_START_ADDR, address));
  hipIpcMemHandle_t handle;
  CheckRuntime(op, hipIpcGetMemHandle(&handle, base));
  SharedPlace place{{}, static_cast<char*>(address) - static_cast<char*>(base)};
  static_assert(sizeof(handle) == sizeof(place.handle));
  memcpy(place.handle.data(), &handle, sizeof(handle));
  return place;
}
void* OpenMemory(const char* op, const MemoryHandle& bytes) {
  hipIpcMemHandle_t handle;
  memcpy(&handle, bytes.data(), sizeof(handle));
  void* memory = nullptr;
  CheckRuntime(op, hipIpcOpenMemHandle(&memory, handle, hipIpcMemLazyEnablePeerAccess));
  return memory;
}
void CloseMemory(void* memory) noexcept { (void)hipIpcCloseMemHandle(memory); }
bool IsCapturing(const char* op, Stream stream) {
  hipStreamCaptureStatus status;
  CheckRuntime(op, hipStreamIsCapturing(static_cast<NativeStream>(stream), &status));
  return status == hipStreamCaptureStatusActive;
}
void CopyNow(const char* op, void* to, const void* from, size_t bytes) {
  CheckRuntime(op, hipMemcpy(to, from, bytes, hipMemcpyDefault));
}
int DeviceAttribute(const char* op, int attribute, int device) {
  int value = 0;
  CheckRuntime(op, hipDeviceGetAttribute(&value, static_cast<hipDeviceAttribute_t>(attribute),
                                         DeviceOr(op, device)));
  return value;
}
int LargestSharedMemory(const char* op, int device) {
  return DeviceAttribute(op, hipDeviceAttributeMaxSharedMemoryPerBlock, device);
}

#else

namespace {

int DeviceOr(const char* op, int device) {
  if (device < 0) CheckRuntime(op, cudaGetDevice(&device));
  return device;
}

// The runtime does not tell where an allocation begins; the driver does, and is not linked.
const void* AllocationOf(const char* op, const void* memory) {
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
  const auto address = reinterpret_cast<CUdeviceptr>(memory);
  if (get_range(&base, nullptr, address) != CUDA_SUCCESS) {
    throw std::runtime_error(std::string(op) + ": the buffer is no memory of a CUDA device");
  }
  return reinterpret_cast<const void*>(base);
}

}  // namespace

SharedPlace ShareMemory(const char* op, const void* memory) {
  void* const base = const_cast<void*>(AllocationOf(op, memory));
  cudaIpcMemHandle_t handle;
  CheckRuntime(op, cudaIpcGetMemHandle(&handle, base));
  SharedPlace place{{}, static_cast<const char*>(memory) - static_cast<const char*>(base)};
  static_assert(sizeof(handle) == sizeof(place.handle));
  memcpy(place.handle.data(), &handle, sizeof(handle));
  return place;
}
void* OpenMemory(const char* op, const MemoryHandle& bytes) {
  cudaIpcMemHandle_t handle;
  memcpy(&handle, bytes.data(), sizeof(handle));
  void* memory = nullptr;
  CheckRuntime(op, cudaIpcOpenMemHandle(&memory, handle, cudaIpcMemLazyEnablePeerAccess));
  return memory;
}
void CloseMemory(void* memory) noexcept { (void)cudaIpcCloseMemHandle(memory); }
bool IsCapturing(const char* op, Stream stream) {
  cudaStreamCaptureStatus status;
  CheckRuntime(op, cudaStreamIsCapturing(static_cast<NativeStream>(stream), &status));
  return status == cudaStreamCaptureStatusActive;
}
void CopyNow(const char* op, void* to, const void* from, size_t bytes) {
  CheckRuntime(op, cudaMemcpy(to, from, bytes, cudaMemcpyDefault));
}
int DeviceAttribute(const char* op, int attribute, int device) {
  int value = 0;
  CheckRuntime(op, cudaDeviceGetAttribute(&value, static_cast<cudaDeviceAttr>(attribute),
                                          DeviceOr(op, device)));
  return value;
}
int LargestSharedMemory(const char* op, int device) {
  return DeviceAttribute(op, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
}

#endif

}  // namespace vllm::device
