// The functions that libtorch_cuda and libtorch_hip add to torch's stable ABI, by name alone: something to link against
// where torch is built without the device (see find_torch_device_library). Never installed, never called.

#define VLLM_STUB(name) \
  extern "C" __attribute__((visibility("default"))) void name() {}

VLLM_STUB(aoti_torch_create_cuda_guard)
VLLM_STUB(aoti_torch_delete_cuda_guard)
VLLM_STUB(aoti_torch_cuda_guard_set_index)
VLLM_STUB(aoti_torch_create_cuda_stream_guard)
VLLM_STUB(aoti_torch_delete_cuda_stream_guard)
VLLM_STUB(aoti_torch_get_current_cuda_stream)
VLLM_STUB(aoti_torch_cuda_caching_allocator_raw_alloc)
VLLM_STUB(aoti_torch_cuda_caching_allocator_raw_delete)
VLLM_STUB(torch_get_current_cuda_blas_handle)
VLLM_STUB(torch_set_current_cuda_stream)
VLLM_STUB(torch_get_cuda_stream_from_pool)
VLLM_STUB(torch_cuda_stream_synchronize)
VLLM_STUB(torch_c10_cuda_check_msg)
VLLM_STUB(torch_c10_cuda_free_error_msg)
