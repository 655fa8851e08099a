// Apart from tensor.cpp, which modules without CPU kernels use too.
#include "bindings/recording.h"
#include "bindings/tensor.h"

namespace vllm {

TensorView View(const char* op, const char* name, const Tensor& tensor) {
  if (current_recording != nullptr) current_recording->Saw(op);
  int32_t device = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(tensor.get(), &device));
  static const int32_t cpu = aoti_torch_device_type_cpu();
  if (device != cpu) {
    Fail({op, name, nullptr, 0, nullptr, nullptr, 0}, "is not on the CPU; move it there first");
  }
  return ViewOnAnyDevice(op, name, tensor);
}

}  // namespace vllm
