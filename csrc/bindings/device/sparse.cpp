#include "device/sparse.h"

#include <torch/csrc/stable/ops.h>

#include <vector>

#include "bindings/device/scaled_product.h"

namespace vllm {
namespace {

device::Type SparseType(const TensorView& tensor) {
  if (tensor.Is(ScalarType::Char)) return device::Type::kInt8;
  if (tensor.Is(ScalarType::Float8_e4m3fn)) return device::Type::kFp8E4M3;
  if (tensor.Is(ScalarType::BFloat16)) return device::Type::kBFloat16;
  if (tensor.Is(ScalarType::Half)) return device::Type::kFloat16;
  Fail(tensor,
       "has a type that is not multiplied, expected int8, float8_e4m3fn, bfloat16 or float16");
}

std::vector<Tensor> cutlass_sparse_compress(const Tensor& a) {
  const DeviceCall call("cutlass_sparse_compress", a);
  const TensorView input = call.View("a", a);
  device::SparseCompress args{};
  args.op = call.Op();
  args.type = SparseType(input);
  CheckDim(input, 2);
  CheckContiguous(input);
  const int64_t rows = input.Size(0), k = input.Size(1);
  if (k % 8 != 0 || !device::IsAligned(input.data, 16)) {
    Fail(input, "has " + std::to_string(k) +
                    " columns, expected a multiple of 8 from an address that is one of 16");
  }
  const Tensor values = torch::stable::new_empty(a, {rows, k / 2});
  const Tensor places = torch::stable::new_empty(a, {rows, k / 8}, ScalarType::Byte);
  args.input = input.data;
  args.values = values.data_ptr();
  args.places = static_cast<uint8_t*>(places.data_ptr());
  args.size = rows * k;
  args.stream = call.Stream();
  device::CompressSparse(args);
  return {values, places};
}

void cutlass_scaled_sparse_mm(const Tensor& out_tensor, const Tensor& a_tensor,
                              const Tensor& bt_nzs, const Tensor& bt_meta, const Tensor& a_scales,
                              const Tensor& b_scales, const std::optional<Tensor>& bias) {
  const DeviceCall call("cutlass_scaled_sparse_mm", a_tensor);
  const TensorView out = call.View("out", out_tensor), a = call.View("a", a_tensor);
  const TensorView values = call.View("bt_nzs", bt_nzs), places = call.View("bt_meta", bt_meta);
  device::SparseMm sparse{};
  device::ScaledMm& mm = sparse.mm;
  mm.op = call.Op();
  mm.type = SparseType(a);
  CheckDim(a, 2);
  CheckLastContiguous(a);
  const int64_t k = a.Size(1);
  if (k % 32 != 0) {
    Fail(a, "has " + std::to_string(k) + " columns, expected a multiple of 32");
  }
  CheckSameType(values, a);
  CheckShape(values, {-1, k / 2}, "[columns of out, columns of a / 2]");
  CheckContiguous(values);
  mm.m = a.Size(0);
  mm.n = values.Size(0);
  CheckType(places, ScalarType::Byte);
  CheckShape(places, {mm.n, k / 8}, "[rows of bt_nzs, columns of a / 8]");
  CheckContiguous(places);
  if (!device::IsAligned(places.data, 4)) {
    Fail(places, "begins between multiples of 4 bytes: give cutlass_sparse_compress's own tensor");
  }
  CheckShape(out, {mm.m, mm.n}, "[rows of a, rows of bt_nzs]");
  CheckLastContiguous(out);
  const int64_t bytes = a.Is(ScalarType::BFloat16) || a.Is(ScalarType::Half) ? 2 : 1;
  mm.k = k * bytes;
  mm.a_stride = a.Stride(0) * bytes;
  mm.b_stride = mm.k / 2;
  mm.a = ByteRows(a, mm.k, mm.a_stride);
  mm.b = ByteRows(values, mm.k / 2, mm.b_stride);
  sparse.places = places.Data<uint8_t>();
  sparse.place_stride = k / 8;
  SetRowScales(mm, call.View("a_scales", a_scales), call.View("b_scales", b_scales));
  mm.out = ProductOutput(call, out, bias);
  mm.stream = call.Stream();
  device::RunSparseMm(sparse);
}

// From sm_80 on there are instructions for every type, or what widens e4m3 to f16 for them.
bool cutlass_sparse_scaled_mm_supported(int64_t cuda_device_capability) {
#if defined(USE_ROCM)
  return false;
#else
  return cuda_device_capability >= 80;
#endif
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C, m) {
  m.def("cutlass_sparse_scaled_mm_supported(int cuda_device_capability) -> bool");
  m.def("cutlass_sparse_compress(Tensor a) -> Tensor[]");
  m.def(
      "cutlass_scaled_sparse_mm(Tensor! out, Tensor a, Tensor bt_nzs, Tensor bt_meta, Tensor "
      "a_scales, Tensor b_scales, Tensor? bias) -> ()");
}

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("cutlass_sparse_compress", TORCH_BOX(&cutlass_sparse_compress));
  m.impl("cutlass_scaled_sparse_mm", TORCH_BOX(&cutlass_scaled_sparse_mm));
}

// No tensor among the arguments says which device is meant.
VLLM_DEVICE_FREE_KERNELS(_C, m) {
  m.impl("cutlass_sparse_scaled_mm_supported", TORCH_BOX(&cutlass_sparse_scaled_mm_supported));
}

}  // namespace vllm
