// What every binding of a device kernel needs: the tensors' device made current, its current
// stream, views of tensors that must all lie there, and the dispatch key to register under.
#pragma once

#include <torch/csrc/stable/accelerator.h>

#include <optional>
#include <string>

#include "bindings/tensor.h"
#include "device/numeric.h"

// The tests build the bindings over the emulator: same checks and kernels, on CPU tensors, in
// namespaces of their own.
#if defined(VLLM_DEVICE_EMULATED)
#define VLLM_DEVICE_SCHEMAS(ns, m) STABLE_TORCH_LIBRARY_FRAGMENT(ns##_emulated, m)
#define VLLM_DEVICE_KERNELS(ns, m) STABLE_TORCH_LIBRARY_IMPL(ns##_emulated, CPU, m)
#define VLLM_DEVICE_FREE_KERNELS(ns, m) \
  STABLE_TORCH_LIBRARY_IMPL(ns##_emulated, CompositeExplicitAutograd, m)
#else
#define VLLM_DEVICE_SCHEMAS(ns, m) STABLE_TORCH_LIBRARY_FRAGMENT(ns, m)
#define VLLM_DEVICE_KERNELS(ns, m) STABLE_TORCH_LIBRARY_IMPL(ns, CUDA, m)
// Of ops without tensors among their arguments.
#define VLLM_DEVICE_FREE_KERNELS(ns, m) STABLE_TORCH_LIBRARY_IMPL(ns, CompositeExplicitAutograd, m)
#endif

namespace vllm {

class DeviceCall {
 public:
  // Makes the device of `tensor` current until the call ends.
  DeviceCall(const char* op, const Tensor& tensor);

  // Fails where the tensor lies elsewhere.
  TensorView View(const char* name, const Tensor& tensor) const;
  const char* Op() const { return op_; }
  int32_t Device() const { return device_; }
  device::Stream Stream() const { return stream_; }
  [[noreturn]] void Fail(const std::string& what) const;

 private:
  const char* op_;
  int32_t device_;
  std::optional<torch::stable::accelerator::DeviceGuard> guard_;
  device::Stream stream_ = nullptr;
};

// Makes a device current, as DeviceCall does, for ops without tensors.
class DeviceOf {
 public:
  explicit DeviceOf([[maybe_unused]] int32_t device) {
#if !defined(VLLM_DEVICE_EMULATED)
    guard_.emplace(device);
#endif
  }

 private:
  std::optional<torch::stable::accelerator::DeviceGuard> guard_;
};

// Of a tensor that the host reads. Fails where it is not on the CPU.
TensorView HostView(const char* op, const char* name, const Tensor& tensor);

// float32, bfloat16 or float16.
device::Type DeviceFloatType(const TensorView& tensor);

// What a cache of `like`'s type holds: that type for "auto", else 8-bit floats stored as uint8 or
// as themselves.
device::Type CacheType(const DeviceCall& call, const TensorView& cache, const TensorView& like,
                       const std::string& kv_cache_dtype);

// A float32 scalar on the device.
const float* DeviceScalar(const TensorView& tensor);

}  // namespace vllm
