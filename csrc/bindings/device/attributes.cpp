// What a device is like, under the names of torch.ops._C_cuda_utils.
#include "bindings/device/call.h"
#include "device/peer_memory.h"

namespace vllm {
namespace {

int64_t get_device_attribute(int64_t attribute, int64_t device_id) {
  return device::DeviceAttribute("get_device_attribute", static_cast<int>(attribute),
                                 static_cast<int>(device_id));
}

int64_t get_max_shared_memory_per_block_device_attribute(int64_t device_id) {
  return device::LargestSharedMemory("get_max_shared_memory_per_block_device_attribute",
                                     static_cast<int>(device_id));
}

// The same memory, which `input` keeps: not valid any longer than that.
Tensor weak_ref_tensor(const Tensor& input) {
  int32_t type = 0, index = 0, dtype = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(input.get(), &type));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(input.get(), &index));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(input.get(), &dtype));
  AtenTensorHandle view = nullptr;
  TORCH_ERROR_CODE_CHECK(
      aoti_torch_create_tensor_from_blob(input.data_ptr(), input.dim(), input.sizes().data(),
                                         input.strides().data(), 0, dtype, type, index, &view));
  return Tensor(view);
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C_cuda_utils, m) {
  m.def("get_device_attribute(int attribute, int device_id) -> int");
  m.def("get_max_shared_memory_per_block_device_attribute(int device_id) -> int");
}

VLLM_DEVICE_FREE_KERNELS(_C_cuda_utils, m) {
  m.impl("get_device_attribute", TORCH_BOX(&get_device_attribute));
  m.impl("get_max_shared_memory_per_block_device_attribute",
         TORCH_BOX(&get_max_shared_memory_per_block_device_attribute));
}

VLLM_DEVICE_SCHEMAS(_C, m) { m.def("weak_ref_tensor(Tensor input) -> Tensor"); }

VLLM_DEVICE_KERNELS(_C, m) { m.impl("weak_ref_tensor", TORCH_BOX(&weak_ref_tensor)); }

}  // namespace vllm
