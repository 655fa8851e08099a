// libtorch_cpu as far as vllm's kernels use it: the functions of torch's stable C interface that _C imports. A function
// that is missing here shows when _C is linked.
#include "shim_objects.h"

#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <string_view>

using torch::headeronly::ScalarType;

namespace {

uint32_t g_num_threads = 1;
constexpr std::byte kGuardByte{0xA5};
constexpr int32_t kCpu = 0;

}  // namespace

void Storage::Free::operator()(std::byte* memory) const { std::free(memory); }

Storage::Storage(size_t bytes) : bytes_(bytes) {
  const size_t whole = (bytes + 3 * kGuard - 1) / kGuard * kGuard;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kGuard, whole)));
  std::fill_n(memory_.get(), kGuard, kGuardByte);
  std::fill_n(Data(), bytes, std::byte{0});
  std::fill_n(Data() + bytes, kGuard, kGuardByte);
}

bool Storage::GuardsWereWritten() const {
  const auto intact = [](const std::byte* begin) {
    return std::all_of(begin, begin + kGuard, [](std::byte b) { return b == kGuardByte; });
  };
  return !intact(memory_.get()) || !intact(memory_.get() + kGuard + bytes_);
}

int64_t AtenTensorOpaque::Numel() const {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

AtenTensorHandle NewTensor(std::vector<int64_t> sizes, int32_t dtype) {
  auto tensor = std::make_unique<AtenTensorOpaque>();
  tensor->strides.resize(sizes.size());
  int64_t stride = 1;
  for (size_t i = sizes.size(); i-- > 0; stride *= std::max<int64_t>(sizes[i], 1)) tensor->strides[i] = stride;
  tensor->sizes = std::move(sizes);
  tensor->dtype = dtype;
  const size_t bytes = static_cast<size_t>(tensor->Numel()) * aoti_torch_dtype_element_size(dtype);
  tensor->storage = std::make_shared<Storage>(bytes);
  tensor->data = tensor->storage->Data();
  return tensor.release();
}

Registry& GetRegistry() {
  static Registry registry;
  return registry;
}

void SetNumThreads(uint32_t threads) { g_num_threads = threads; }

// What a registration object collects for.
class TorchLibraryOpaque {
 public:
  std::string name_space;
  std::string dispatch_key;
};

extern "C" {

#define DTYPE(NAME, TYPE) \
  int32_t aoti_torch_dtype_##NAME() { return static_cast<int32_t>(ScalarType::TYPE); }
DTYPE(float32, Float)
DTYPE(float64, Double)
DTYPE(float16, Half)
DTYPE(bfloat16, BFloat16)
DTYPE(float8_e5m2, Float8_e5m2)
DTYPE(float8_e4m3fn, Float8_e4m3fn)
DTYPE(float8_e5m2fnuz, Float8_e5m2fnuz)
DTYPE(float8_e4m3fnuz, Float8_e4m3fnuz)
DTYPE(uint8, Byte)
DTYPE(uint16, UInt16)
DTYPE(uint32, UInt32)
DTYPE(uint64, UInt64)
DTYPE(int8, Char)
DTYPE(int16, Short)
DTYPE(int32, Int)
DTYPE(int64, Long)
DTYPE(bool, Bool)
DTYPE(complex32, ComplexHalf)
DTYPE(complex64, ComplexFloat)
DTYPE(complex128, ComplexDouble)
#undef DTYPE

size_t aoti_torch_dtype_element_size(int32_t dtype) {
  switch (static_cast<ScalarType>(dtype)) {
    case ScalarType::Double:
    case ScalarType::Long:
    case ScalarType::UInt64:
      return 8;
    case ScalarType::Float:
    case ScalarType::Int:
    case ScalarType::UInt32:
      return 4;
    case ScalarType::Half:
    case ScalarType::BFloat16:
    case ScalarType::Short:
    case ScalarType::UInt16:
      return 2;
    default:
      return 1;
  }
}

int32_t aoti_torch_device_type_cpu() { return kCpu; }
int32_t aoti_torch_device_type_cuda() { return 1; }
int32_t aoti_torch_device_type_xpu() { return 12; }
int32_t aoti_torch_device_type_mps() { return 13; }
int32_t aoti_torch_device_type_meta() { return 14; }
int32_t aoti_torch_device_type_privateuse1() { return 20; }
int32_t aoti_torch_layout_strided() { return 0; }
int32_t aoti_torch_layout_sparse_coo() { return 1; }
int32_t aoti_torch_layout_sparse_csr() { return 2; }
int32_t aoti_torch_layout__mkldnn() { return 3; }
int32_t aoti_torch_layout_sparse_csc() { return 4; }
int32_t aoti_torch_layout_sparse_bsr() { return 5; }
int32_t aoti_torch_layout_sparse_bsc() { return 6; }
int32_t aoti_torch_layout_jagged() { return 7; }
uint64_t aoti_torch_abi_version() { return TORCH_TARGET_VERSION; }

#define GETTER(NAME, TYPE, VALUE)                                          \
  AOTITorchError aoti_torch_get_##NAME(AtenTensorHandle tensor, TYPE* to) { \
    *to = VALUE;                                                           \
    return AOTI_TORCH_SUCCESS;                                             \
  }
GETTER(data_ptr, void*, tensor->data)
GETTER(dim, int64_t, static_cast<int64_t>(tensor->sizes.size()))
GETTER(numel, int64_t, tensor->Numel())
GETTER(sizes, int64_t*, tensor->sizes.data())
GETTER(strides, int64_t*, tensor->strides.data())
GETTER(dtype, int32_t, tensor->dtype)
GETTER(device_type, int32_t, (static_cast<void>(tensor), kCpu))
GETTER(device_index, int32_t, (static_cast<void>(tensor), -1))
#undef GETTER

AOTITorchError aoti_torch_get_size(AtenTensorHandle tensor, int64_t d, int64_t* to) {
  *to = tensor->sizes.at(static_cast<size_t>(d));
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_get_stride(AtenTensorHandle tensor, int64_t d, int64_t* to) {
  *to = tensor->strides.at(static_cast<size_t>(d));
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_get_mutable_data_ptr(AtenTensorHandle tensor, void** to) {
  return aoti_torch_get_data_ptr(tensor, to);
}

AOTITorchError torch_get_const_data_ptr(AtenTensorHandle tensor, const void** to) {
  *to = tensor->data;
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_new_tensor_handle(AtenTensorHandle tensor, AtenTensorHandle* to) {
  *to = new AtenTensorOpaque(*tensor);
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_delete_tensor_object(AtenTensorHandle tensor) {
  delete tensor;
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_get_num_threads(uint32_t* to) {
  *to = g_num_threads;
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_new_string_handle(const char* data, size_t length, StringHandle* to) {
  *to = new StringOpaque{std::string(data, length)};
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_delete_string(StringHandle string) {
  delete string;
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_string_length(StringHandle string, size_t* to) {
  *to = string->text.size();
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_string_c_str(StringHandle string, const char** to) {
  *to = string->text.c_str();
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_new_list_reserve_size(size_t size, StableListHandle* to) {
  *to = new StableListOpaque;
  (*to)->items.reserve(size);
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_list_push_back(StableListHandle list, StableIValue item) {
  list->items.push_back(item);
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_list_size(StableListHandle list, size_t* to) {
  *to = list->items.size();
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_list_get_item(StableListHandle list, size_t index, StableIValue* to) {
  *to = list->items.at(index);
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_delete_list(StableListHandle list) {
  delete list;
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_library_init_fragment(const char* ns, const char*, uint32_t, TorchLibraryHandle* to) {
  *to = new TorchLibraryOpaque{ns, ""};
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_library_init_def(const char* ns, const char* file, uint32_t line, TorchLibraryHandle* to) {
  return aoti_torch_library_init_fragment(ns, file, line, to);
}

AOTITorchError aoti_torch_library_init_impl(const char* ns, const char* key, const char*, uint32_t,
                                            TorchLibraryHandle* to) {
  *to = new TorchLibraryOpaque{ns, key};
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_library_def(TorchLibraryHandle library, const char* schema) {
  GetRegistry().schemas.push_back(library->name_space + "::" + schema);
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError torch_library_impl(TorchLibraryHandle library, const char* name, BoxedKernel kernel, uint64_t) {
  GetRegistry().implementations.push_back({library->name_space + "::" + name, library->dispatch_key, kernel});
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_delete_library_object(TorchLibraryHandle library) {
  delete library;
  return AOTI_TORCH_SUCCESS;
}

// Optional values of new_empty are pointers to a value on the heap, which the callee frees.
AOTITorchError torch_call_dispatcher(const char* op, const char*, StableIValue* stack, uint64_t) {
  const std::string_view name(op);
  if (name != "aten::new_empty" && name != "aten::new_zeros") {
    std::fprintf(stderr, "the kernel called %s, which the runner does not have: add it to torch_shim.cpp\n", op);
    return AOTI_TORCH_FAILURE;
  }
  const std::unique_ptr<AtenTensorOpaque> self(reinterpret_cast<AtenTensorHandle>(stack[0]));
  const std::unique_ptr<StableListOpaque> sizes(reinterpret_cast<StableListHandle>(stack[1]));
  int32_t dtype = self->dtype;
  for (int argument = 2; argument < 6; ++argument) {  // dtype, layout, device, pin_memory
    const std::unique_ptr<StableIValue> value(reinterpret_cast<StableIValue*>(stack[argument]));
    if (argument == 2 && value != nullptr) dtype = static_cast<int32_t>(*value);
  }
  const AtenTensorHandle made = NewTensor({sizes->items.begin(), sizes->items.end()}, dtype);
  stack[0] = reinterpret_cast<StableIValue>(made);
  return AOTI_TORCH_SUCCESS;
}

}  // extern "C"
