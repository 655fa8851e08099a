// CUDA's virtual memory management. Its functions come from the driver through the runtime, so that
// the library loads, and is linked, where there is no driver.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "cumem/exports.h"

namespace vllm::cumem {
namespace {

template <typename Function>
Function EntryPoint(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 12050
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &result);
#else
  const cudaError_t error = cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &result);
#endif
  if (error != cudaSuccess || result != cudaDriverEntryPointSuccess || function == nullptr) {
    throw std::runtime_error(std::string("cumem: the CUDA driver has no ") + name +
                             "; is a driver for CUDA 12 or newer installed?");
  }
  return reinterpret_cast<Function>(function);
}

#define VLLM_CU(name) static const auto name##_ = EntryPoint<decltype(&::name)>(#name)

void Check(const char* what, CUresult result) {
  if (result == CUDA_SUCCESS) return;
  VLLM_CU(cuGetErrorString);
  const char* text = nullptr;
  cuGetErrorString_(result, &text);
  throw std::runtime_error(std::string("cumem: ") + what +
                           " failed: " + (text != nullptr ? text : "unknown error"));
}

CUmemAllocationProp Properties(int device) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = device;
  return properties;
}

class CudaDriver : public Driver {
 public:
  size_t Granularity(int device) override {
    VLLM_CU(cuMemGetAllocationGranularity);
    const CUmemAllocationProp properties = Properties(device);
    size_t bytes = 0;
    Check("asking for the allocation granularity",
          cuMemGetAllocationGranularity_(&bytes, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    return bytes;
  }

  uintptr_t Reserve(size_t bytes) override {
    VLLM_CU(cuMemAddressReserve);
    CUdeviceptr address = 0;
    Check("reserving addresses", cuMemAddressReserve_(&address, bytes, 0, 0, 0));
    return static_cast<uintptr_t>(address);
  }

  void FreeAddress(uintptr_t address, size_t bytes) override {
    VLLM_CU(cuMemAddressFree);
    Check("freeing addresses", cuMemAddressFree_(address, bytes));
  }

  uint64_t Create(int device, size_t bytes) override {
    VLLM_CU(cuMemCreate);
    const CUmemAllocationProp properties = Properties(device);
    CUmemGenericAllocationHandle handle = 0;
    const std::string what = "allocating " + std::to_string(bytes >> 20) + " MiB";
    Check(what.c_str(), cuMemCreate_(&handle, bytes, &properties, 0));
    return handle;
  }

  void Destroy(uint64_t handle) override {
    VLLM_CU(cuMemRelease);
    Check("releasing memory", cuMemRelease_(handle));
  }

  void Map(uintptr_t address, size_t bytes, uint64_t handle, int device) override {
    VLLM_CU(cuMemMap);
    VLLM_CU(cuMemSetAccess);
    Check("mapping memory", cuMemMap_(address, bytes, 0, handle, 0));
    CUmemAccessDesc access{};
    access.location = Properties(device).location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    const CUresult result = cuMemSetAccess_(address, bytes, &access, 1);
    if (result != CUDA_SUCCESS) Unmap(address, bytes);
    Check("allowing access to memory", result);
  }

  void Unmap(uintptr_t address, size_t bytes) override {
    VLLM_CU(cuMemUnmap);
    Check("unmapping memory", cuMemUnmap_(address, bytes));
  }

  void Synchronize(int device) override {
    int before = 0;
    cudaError_t error = cudaGetDevice(&before);
    if (error == cudaSuccess) error = cudaSetDevice(device);
    if (error == cudaSuccess) error = cudaDeviceSynchronize();
    cudaSetDevice(before);
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();  // else torch finds it, and blames an op of its own
    throw std::runtime_error(std::string("cumem: waiting for the device failed: ") +
                             cudaGetErrorString(error));
  }
};

}  // namespace

// Never destroyed: torch frees memory until the process ends.
Pool& DefaultPool() {
  static Pool* const pool = new Pool(*new CudaDriver);
  return *pool;
}

}  // namespace vllm::cumem
