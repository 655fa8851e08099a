// torch.ops._deepgemm_C: products of bf16 matrices, and of e4m3 with scales of blocks, under
// DeepGEMM's names.
#include <algorithm>

#include "bindings/device/call.h"
#include "bindings/scaled_mm.h"
#include "deepgemm/bf16_gemm.h"
#include "device/scaled_mm.h"

namespace vllm {
namespace {

constexpr int64_t kBlock = device::kScaleBlock;

int64_t Blocks(int64_t size) { return (size + kBlock - 1) / kBlock; }

// A matrix or, with a leading dimension for groups, several.
struct Matrices {
  TensorView view;
  bool grouped;

  int64_t Rows() const { return view.Size(-2); }
  int64_t Columns() const { return view.Size(-1); }
  int64_t GroupStride() const { return grouped ? view.Stride(0) : 0; }
};

Matrices CheckedMatrices(const TensorView& view, bool grouped) {
  CheckDim(view, grouped ? 3 : 2);
  CheckLastContiguous(view);
  return {view, grouped};
}

// Rows of bytes; the strides that the kernels count in bytes follow.
const uint8_t* Operand(const Matrices& matrices, ScalarType type, int64_t& stride,
                       int64_t& group_stride) {
  CheckType(matrices.view, type);
  const int64_t size = type == ScalarType::BFloat16 ? 2 : 1;
  stride = matrices.view.Stride(-2) * size;
  group_stride = matrices.GroupStride() * size;
  if (group_stride % 16 != 0) {
    Fail(matrices.view,
         "has groups " + std::to_string(group_stride) + " bytes apart, expected a multiple of 16");
  }
  return ByteRows(matrices.view, matrices.Columns() * size, stride);
}

// f32 with any strides, a row for each `rows` of `of`.
device::BlockScales Scales(const TensorView& scales, const Matrices& of, int64_t rows) {
  CheckType(scales, ScalarType::Float);
  CheckDim(scales, of.view.dim);
  const int64_t expected_rows = (of.Rows() + rows - 1) / rows, blocks = Blocks(of.Columns());
  if ((of.grouped && scales.Size(0) != of.view.Size(0)) || scales.Size(-2) != expected_rows ||
      scales.Size(-1) != blocks) {
    Fail(scales, "has shape " + ShapeString(scales) + ", expected " +
                     (of.grouped ? std::to_string(of.view.Size(0)) + " groups of " : "") + "[" +
                     std::to_string(expected_rows) + ", " + std::to_string(blocks) +
                     "]: one for each " + std::to_string(rows) + " x 128 of " + of.view.name);
  }
  return {scales.Data<float>(), scales.Stride(-2), scales.Stride(-1),
          of.grouped ? scales.Stride(0) : 0};
}

// d [m, n] = a [m, k] b [n, k]^T, each of them one matrix or one of each group.
void SetProduct(device::GroupedMm& mm, const DeviceCall& call, const Matrices& a, const Matrices& b,
                const Tensor& out, ScalarType type) {
  const Matrices d = CheckedMatrices(call.View("d", out), a.grouped);
  mm.op = call.Op();
  mm.a = Operand(a, type, mm.a_stride, mm.a_group_stride);
  mm.b = Operand(b, type, mm.b_stride, mm.b_group_stride);
  mm.m = mm.expected_rows = a.Rows();
  mm.n = b.Rows();
  mm.k = a.Columns();
  mm.groups = b.grouped ? static_cast<int>(b.view.Size(0)) : 1;
  if (b.Columns() != mm.k || (a.grouped && a.view.Size(0) != mm.groups)) {
    Fail(b.view, "has shape " + ShapeString(b.view) + ", which does not fit a's " +
                     ShapeString(a.view) + ": groups and columns must be as many");
  }
  if (a.grouped) {
    CheckShape(d.view, {mm.groups, mm.m, mm.n}, "[groups, rows of a, rows of b]");
  } else {
    CheckShape(d.view, {mm.m, mm.n}, "[rows of a, rows of b]");
  }
  if (!d.view.Is(ScalarType::Float)) CheckType(d.view, ScalarType::BFloat16);
  if (mm.n % 8 != 0 || d.view.Stride(-2) % 8 != 0 || d.GroupStride() % 8 != 0 ||
      !device::IsAligned(d.view.data, 16)) {
    Fail(d.view, "has rows of " + std::to_string(mm.n) + ", " + std::to_string(d.view.Stride(-2)) +
                     " apart, expected multiples of 8 from an address that is one of 16");
  }
  mm.out.data = d.view.data;
  mm.out.stride = d.view.Stride(-2);
  mm.out.group_stride = d.GroupStride();
  mm.out.type = DeviceFloatType(d.view);
  mm.stream = call.Stream();
}

struct Fp8Operands {
  const Tensor& a;
  const Tensor& a_scales;
  const Tensor& b;
  const Tensor& b_scales;
  const Tensor& d;
};

device::BlockScaledMm Fp8Product(const DeviceCall& call, const Fp8Operands& o, bool a_grouped,
                                 bool b_grouped) {
  const Matrices a = CheckedMatrices(call.View("a", o.a), a_grouped);
  const Matrices b = CheckedMatrices(call.View("b", o.b), b_grouped);
  device::BlockScaledMm mm{};
  SetProduct(mm, call, a, b, o.d, ScalarType::Float8_e4m3fn);
  mm.a_scales = Scales(call.View("a_scales", o.a_scales), a, 1);
  mm.b_scales = Scales(call.View("b_scales", o.b_scales), b, kBlock);
  return mm;
}

device::GroupedMm Bf16Product(const DeviceCall& call, const Tensor& a, const Tensor& b,
                              const Tensor& d, bool a_grouped, bool b_grouped) {
  device::GroupedMm mm{};
  SetProduct(mm, call, CheckedMatrices(call.View("a", a), a_grouped),
             CheckedMatrices(call.View("b", b), b_grouped), d, ScalarType::BFloat16);
  return mm;
}

// d += c.
void SetAddend(device::GroupedMm& mm, const DeviceCall& call, const Tensor& d,
               const std::optional<Tensor>& c) {
  if (!c) return;
  const TensorView added = call.View("c", *c), out = call.View("d", d);
  CheckSameType(added, out);
  CheckSameShape(added, out);
  CheckLastContiguous(added);
  mm.out.addend = added.data;
  mm.out.addend_stride = added.Stride(0);
}

void SetRowGroups(device::GroupedMm& mm, const DeviceCall& call, const Tensor& m_indices) {
  mm.row_groups = Values<int32_t>(call.View("m_indices", m_indices), ScalarType::Int, mm.m);
  mm.expected_rows = kBlock;
}

void SetGroupRows(device::GroupedMm& mm, const DeviceCall& call, const Tensor& masked_m,
                  int64_t expected_m) {
  mm.group_rows = Values<int32_t>(call.View("masked_m", masked_m), ScalarType::Int, mm.groups);
  mm.expected_rows = std::min(std::max<int64_t>(expected_m, 1), mm.m);
}

void fp8_gemm_nt(const Tensor& a, const Tensor& a_scales, const Tensor& b, const Tensor& b_scales,
                 const Tensor& d, const std::optional<Tensor>& c) {
  const DeviceCall call("fp8_gemm_nt", a);
  device::BlockScaledMm mm = Fp8Product(call, {a, a_scales, b, b_scales, d}, false, false);
  SetAddend(mm, call, d, c);
  device::RunBlockScaledMm(mm);
}

void m_grouped_fp8_gemm_nt_contiguous(const Tensor& a, const Tensor& a_scales, const Tensor& b,
                                      const Tensor& b_scales, const Tensor& d,
                                      const Tensor& m_indices) {
  const DeviceCall call("m_grouped_fp8_gemm_nt_contiguous", a);
  device::BlockScaledMm mm = Fp8Product(call, {a, a_scales, b, b_scales, d}, false, true);
  SetRowGroups(mm, call, m_indices);
  device::RunBlockScaledMm(mm);
}

void m_grouped_fp8_gemm_nt_masked(const Tensor& a, const Tensor& a_scales, const Tensor& b,
                                  const Tensor& b_scales, const Tensor& d, const Tensor& masked_m,
                                  int64_t expected_m) {
  const DeviceCall call("m_grouped_fp8_gemm_nt_masked", a);
  device::BlockScaledMm mm = Fp8Product(call, {a, a_scales, b, b_scales, d}, true, true);
  SetGroupRows(mm, call, masked_m, expected_m);
  device::RunBlockScaledMm(mm);
}

void bf16_gemm_nt(const Tensor& a, const Tensor& b, const Tensor& d,
                  const std::optional<Tensor>& c) {
  const DeviceCall call("bf16_gemm_nt", a);
  device::GroupedMm mm = Bf16Product(call, a, b, d, false, false);
  SetAddend(mm, call, d, c);
  device::RunBf16Gemm(mm);
}

void m_grouped_bf16_gemm_nt_contiguous(const Tensor& a, const Tensor& b, const Tensor& d,
                                       const Tensor& m_indices) {
  const DeviceCall call("m_grouped_bf16_gemm_nt_contiguous", a);
  device::GroupedMm mm = Bf16Product(call, a, b, d, false, true);
  SetRowGroups(mm, call, m_indices);
  device::RunBf16Gemm(mm);
}

void m_grouped_bf16_gemm_nt_masked(const Tensor& a, const Tensor& b, const Tensor& d,
                                   const Tensor& masked_m, int64_t expected_m) {
  const DeviceCall call("m_grouped_bf16_gemm_nt_masked", a);
  device::GroupedMm mm = Bf16Product(call, a, b, d, true, true);
  SetGroupRows(mm, call, masked_m, expected_m);
  device::RunBf16Gemm(mm);
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_deepgemm_C, m) {
  m.def(
      "fp8_gemm_nt(Tensor a, Tensor a_scales, Tensor b, Tensor b_scales, Tensor! d, Tensor? c) "
      "-> ()");
  m.def(
      "m_grouped_fp8_gemm_nt_contiguous(Tensor a, Tensor a_scales, Tensor b, Tensor b_scales, "
      "Tensor! d, Tensor m_indices) -> ()");
  m.def(
      "m_grouped_fp8_gemm_nt_masked(Tensor a, Tensor a_scales, Tensor b, Tensor b_scales, "
      "Tensor! d, Tensor masked_m, int expected_m) -> ()");
  m.def("bf16_gemm_nt(Tensor a, Tensor b, Tensor! d, Tensor? c) -> ()");
  m.def("m_grouped_bf16_gemm_nt_contiguous(Tensor a, Tensor b, Tensor! d, Tensor m_indices) -> ()");
  m.def(
      "m_grouped_bf16_gemm_nt_masked(Tensor a, Tensor b, Tensor! d, Tensor masked_m, "
      "int expected_m) -> ()");
}

VLLM_DEVICE_KERNELS(_deepgemm_C, m) {
  m.impl("fp8_gemm_nt", TORCH_BOX(&fp8_gemm_nt));
  m.impl("m_grouped_fp8_gemm_nt_contiguous", TORCH_BOX(&m_grouped_fp8_gemm_nt_contiguous));
  m.impl("m_grouped_fp8_gemm_nt_masked", TORCH_BOX(&m_grouped_fp8_gemm_nt_masked));
  m.impl("bf16_gemm_nt", TORCH_BOX(&bf16_gemm_nt));
  m.impl("m_grouped_bf16_gemm_nt_contiguous", TORCH_BOX(&m_grouped_bf16_gemm_nt_contiguous));
  m.impl("m_grouped_bf16_gemm_nt_masked", TORCH_BOX(&m_grouped_bf16_gemm_nt_masked));
}

}  // namespace vllm
