#include "bindings/device/call.h"

#include <stdexcept>

namespace vllm {
namespace {

int32_t KernelDeviceType() {
#if defined(VLLM_DEVICE_EMULATED)
  return aoti_torch_device_type_cpu();
#else
  return aoti_torch_device_type_cuda();
#endif
}

int32_t DeviceIndex(const Tensor& tensor) {
  int32_t type = 0, index = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(tensor.get(), &type));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(tensor.get(), &index));
  return type == KernelDeviceType() ? index : INT32_MIN;
}

}  // namespace

DeviceCall::DeviceCall(const char* op, const Tensor& tensor)
    : op_(op), device_(DeviceIndex(tensor)) {
#if !defined(VLLM_DEVICE_EMULATED)
  if (device_ == INT32_MIN) return;  // View refuses it by name
  guard_.emplace(device_);
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device_, &stream_));
#endif
}

TensorView DeviceCall::View(const char* name, const Tensor& tensor) const {
  const int32_t index = DeviceIndex(tensor);
  if (index == INT32_MIN || index != device_) {
    vllm::Fail({op_, name, nullptr, 0, nullptr, nullptr, 0},
               "is on another device than the op's tensors; move them to one device first");
  }
  return ViewOnAnyDevice(op_, name, tensor);
}

void DeviceCall::Fail(const std::string& what) const {
  throw std::runtime_error(std::string(op_) + ": " + what);
}

TensorView HostView(const char* op, const char* name, const Tensor& tensor) {
  int32_t type = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(tensor.get(), &type));
  if (type != aoti_torch_device_type_cpu()) {
    Fail({op, name, nullptr, 0, nullptr, nullptr, 0}, "is not on the CPU; move it there first");
  }
  return ViewOnAnyDevice(op, name, tensor);
}

device::Type DeviceFloatType(const TensorView& tensor) {
  switch (FloatType(tensor)) {
    case DType::kFloat32:
      return device::Type::kFloat32;
    case DType::kBFloat16:
      return device::Type::kBFloat16;
    default:
      return device::Type::kFloat16;
  }
}

device::Type CacheType(const DeviceCall& call, const TensorView& cache, const TensorView& like,
                       const std::string& kv_cache_dtype) {
  if (kv_cache_dtype == "auto") {
    CheckSameType(cache, like);
    return DeviceFloatType(like);
  }
  const bool e5m2 = kv_cache_dtype == "fp8_e5m2";
  if (!e5m2 && kv_cache_dtype != "fp8" && kv_cache_dtype != "fp8_e4m3") {
    call.Fail("kv_cache_dtype is '" + kv_cache_dtype +
              "', expected 'auto', 'fp8', 'fp8_e4m3' or 'fp8_e5m2'");
  }
  if (!cache.Is(ScalarType::Byte))
    CheckType(cache, e5m2 ? ScalarType::Float8_e5m2 : ScalarType::Float8_e4m3fn);
  return e5m2 ? device::Type::kFp8E5M2 : device::Type::kFp8E4M3;
}

const float* DeviceScalar(const TensorView& tensor) {
  CheckType(tensor, ScalarType::Float);
  if (tensor.Numel() != 1)
    Fail(tensor, "has shape " + ShapeString(tensor) + ", expected one value");
  return tensor.Data<float>();
}

}  // namespace vllm
