// One name for what CUDA, HIP and the test suite's emulator on the CPU call differently. Every
// device file includes this and no other runtime header; none includes torch.
//
// Kernels ask WaveSize() for the number of threads that run in lockstep: 32 or 64. Host code must
// not: HIP's compiler does not know it there. Thread counts of launches are multiples of 64, so
// that no wave is ever part empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

// Sources that hold kernels are compiled as CUDA, as HIP or over the emulator; bindings, as plain
// C++, only share the types.
#if defined(VLLM_DEVICE_EMULATED)
#define VLLM_KERNELS 1
#include "emulator.h"
#elif defined(__HIP__)
#define VLLM_KERNELS 1
#include <hip/hip_runtime.h>
#elif defined(__CUDACC__)
#define VLLM_KERNELS 1
#include <cuda_runtime.h>
#else
#define VLLM_KERNELS 0
#endif

#if defined(__HIP__) || defined(__CUDACC__)
#define VLLM_DEVICE __device__ __forceinline__
#define VLLM_HOST_DEVICE __host__ __device__ inline
#define VLLM_PRAGMA(text) _Pragma(#text)
#define VLLM_UNROLL(n) VLLM_PRAGMA(unroll n)
#define VLLM_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#else
#define VLLM_DEVICE inline
#define VLLM_HOST_DEVICE inline
#define VLLM_UNROLL(n)
#define VLLM_DYNAMIC_SHARED(name) unsigned char* const name = emulator::DynamicShared()
#endif

namespace vllm::device {

using Stream = void*;

#if VLLM_KERNELS

constexpr int kMaxWaves = 1024 / 32;

#if defined(VLLM_DEVICE_EMULATED)
inline int WaveSize() { return emulator::WaveSize(); }
using emulator::Ballot;
using emulator::Shuffle;
using emulator::ShuffleXor;
#elif defined(__HIP__)
VLLM_DEVICE constexpr int WaveSize() {
#if defined(__GFX8__) || defined(__GFX9__)
  return 64;
#else
  return 32;
#endif
}
template <typename T>
VLLM_DEVICE T Shuffle(T value, int lane) {
  return __shfl(value, lane);
}
template <typename T>
VLLM_DEVICE T ShuffleXor(T value, int lane_mask) {
  return __shfl_xor(value, lane_mask);
}
VLLM_DEVICE uint64_t Ballot(bool predicate) { return __ballot(predicate); }
#else
VLLM_DEVICE constexpr int WaveSize() { return 32; }
template <typename T>
VLLM_DEVICE T Shuffle(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
template <typename T>
VLLM_DEVICE T ShuffleXor(T value, int lane_mask) {
  return __shfl_xor_sync(0xffffffffu, value, lane_mask);
}
VLLM_DEVICE uint64_t Ballot(bool predicate) { return __ballot_sync(0xffffffffu, predicate); }
#endif

VLLM_DEVICE int LaneId() { return static_cast<int>(threadIdx.x) % WaveSize(); }
VLLM_DEVICE int WaveId() { return static_cast<int>(threadIdx.x) / WaveSize(); }
VLLM_DEVICE int NumWaves() { return static_cast<int>(blockDim.x) / WaveSize(); }

struct LaunchShape {
  const char* op;  // for messages
  int64_t blocks_x;
  int64_t blocks_y = 1;
  int64_t blocks_z = 1;
  int threads;
  size_t shared_bytes = 0;
};

#if !defined(VLLM_DEVICE_EMULATED)
#if defined(__HIP__)
using RuntimeError = hipError_t;
inline void ForgetError() { (void)hipGetLastError(); }
inline const char* ErrorString(RuntimeError error) { return hipGetErrorString(error); }
constexpr RuntimeError kSuccess = hipSuccess;
using NativeStream = hipStream_t;
#else
using RuntimeError = cudaError_t;
inline void ForgetError() { (void)cudaGetLastError(); }
inline const char* ErrorString(RuntimeError error) { return cudaGetErrorString(error); }
constexpr RuntimeError kSuccess = cudaSuccess;
using NativeStream = cudaStream_t;
#endif

inline void CheckRuntime(const char* op, RuntimeError error) {
  if (error == kSuccess) return;
  ForgetError();  // else whoever asks for the last error next, torch for one, finds ours
  throw std::runtime_error(std::string(op) + ": the device reports: " + ErrorString(error));
}
#endif

template <typename T>
struct Identity {
  using type = T;
};

// Queues kernel(args...) on `stream`; a launch without blocks is none. Throws where the launch is
// refused.
template <typename... Params>
void Launch(const LaunchShape& shape, Stream stream, void (*kernel)(Params...),
            typename Identity<Params>::type... args) {
  if (shape.blocks_x == 0 || shape.blocks_y == 0 || shape.blocks_z == 0) return;
  if (shape.blocks_x > 0x7fffffff || shape.blocks_y > 0xffff || shape.blocks_z > 0xffff) {
    throw std::runtime_error(std::string(shape.op) +
                             ": the input is too large for one launch; split it");
  }
  const dim3 grid(static_cast<unsigned>(shape.blocks_x), static_cast<unsigned>(shape.blocks_y),
                  static_cast<unsigned>(shape.blocks_z));
  const dim3 block(static_cast<unsigned>(shape.threads));
#if defined(VLLM_DEVICE_EMULATED)
  (void)stream;
  emulator::Run(grid, block, shape.shared_bytes, [=] { kernel(args...); });
#else
#if !defined(__HIP__)
  if (shape.shared_bytes > 48 * 1024) {
    CheckRuntime(shape.op, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                static_cast<int>(shape.shared_bytes)));
  }
#endif
  void* arguments[] = {&args...};
  const void* function = reinterpret_cast<const void*>(kernel);
#if defined(__HIP__)
  CheckRuntime(shape.op, hipLaunchKernel(function, grid, block, arguments, shape.shared_bytes,
                                         static_cast<NativeStream>(stream)));
#else
  CheckRuntime(shape.op, cudaLaunchKernel(function, grid, block, arguments, shape.shared_bytes,
                                          static_cast<NativeStream>(stream)));
#endif
#endif
}

// Of the current device.
inline int Multiprocessors() {
  int count = 4;
#if defined(VLLM_DEVICE_EMULATED)
#elif defined(__HIP__)
  int device = 0;
  CheckRuntime("hipGetDevice", hipGetDevice(&device));
  CheckRuntime("hipDeviceGetAttribute",
               hipDeviceGetAttribute(&count, hipDeviceAttributeMultiprocessorCount, device));
#else
  int device = 0;
  CheckRuntime("cudaGetDevice", cudaGetDevice(&device));
  CheckRuntime("cudaDeviceGetAttribute",
               cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
#endif
  return count;
}

// Queues a copy; each side may be device memory or host memory.
inline void CopyAsync(const char* op, void* to, const void* from, size_t bytes, Stream stream) {
#if defined(VLLM_DEVICE_EMULATED)
  (void)op, (void)stream;
  memmove(to, from, bytes);
#elif defined(__HIP__)
  CheckRuntime(
      op, hipMemcpyAsync(to, from, bytes, hipMemcpyDefault, static_cast<NativeStream>(stream)));
#else
  CheckRuntime(
      op, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<NativeStream>(stream)));
#endif
}

// Queues writing zeros to device memory.
inline void ClearAsync(const char* op, void* memory, size_t bytes, Stream stream) {
#if defined(VLLM_DEVICE_EMULATED)
  (void)op, (void)stream;
  memset(memory, 0, bytes);
#elif defined(__HIP__)
  CheckRuntime(op, hipMemsetAsync(memory, 0, bytes, static_cast<NativeStream>(stream)));
#else
  CheckRuntime(op, cudaMemsetAsync(memory, 0, bytes, static_cast<NativeStream>(stream)));
#endif
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
