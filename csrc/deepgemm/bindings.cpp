// torch.ops._deepgemm_C: products of e4m3 matrices with scales of blocks, under DeepGEMM's names.
#include <algorithm>

#include "bindings/device/call.h"
#include "bindings/scaled_mm.h"
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

const uint8_t* Operand(const Matrices& matrices) {
  CheckType(matrices.view, ScalarType::Float8_e4m3fn);
  if (matrices.GroupStride() % 16 != 0) {
    Fail(matrices.view, "has groups " + std::to_string(matrices.GroupStride()) +
                            " bytes apart, expected a multiple of 16");
  }
  return ByteRows(matrices.view, matrices.Columns(), matrices.view.Stride(-2));
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

struct Operands {
  const Tensor& a;
  const Tensor& a_scales;
  const Tensor& b;
  const Tensor& b_scales;
  const Tensor& d;
};

// d [m, n] = a [m, k] b [n, k]^T, each of them one matrix or one of each group.
device::BlockScaledMm Product(const DeviceCall& call, const Operands& o, bool a_grouped,
                              bool b_grouped) {
  const Matrices a = CheckedMatrices(call.View("a", o.a), a_grouped);
  const Matrices b = CheckedMatrices(call.View("b", o.b), b_grouped);
  const Matrices d = CheckedMatrices(call.View("d", o.d), a_grouped);
  device::BlockScaledMm mm{};
  mm.op = call.Op();
  mm.a = Operand(a);
  mm.b = Operand(b);
  mm.m = mm.expected_rows = a.Rows();
  mm.n = b.Rows();
  mm.k = a.Columns();
  mm.groups = b_grouped ? static_cast<int>(b.view.Size(0)) : 1;
  if (b.Columns() != mm.k || (a_grouped && a.view.Size(0) != mm.groups)) {
    Fail(b.view, "has shape " + ShapeString(b.view) + ", which does not fit a's " +
                     ShapeString(a.view) + ": groups and columns must be as many");
  }
  if (a_grouped) {
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
  mm.a_stride = a.view.Stride(-2);
  mm.b_stride = b.view.Stride(-2);
  mm.a_group_stride = a.GroupStride();
  mm.b_group_stride = b.GroupStride();
  mm.a_scales = Scales(call.View("a_scales", o.a_scales), a, 1);
  mm.b_scales = Scales(call.View("b_scales", o.b_scales), b, kBlock);
  mm.out.data = d.view.data;
  mm.out.stride = d.view.Stride(-2);
  mm.out.group_stride = d.GroupStride();
  mm.out.type = DeviceFloatType(d.view);
  mm.stream = call.Stream();
  return mm;
}

void fp8_gemm_nt(const Tensor& a, const Tensor& a_scales, const Tensor& b, const Tensor& b_scales,
                 const Tensor& d, const std::optional<Tensor>& c) {
  const DeviceCall call("fp8_gemm_nt", a);
  device::BlockScaledMm mm = Product(call, {a, a_scales, b, b_scales, d}, false, false);
  if (c) {
    const TensorView added = call.View("c", *c), out = call.View("d", d);
    CheckSameType(added, out);
    CheckSameShape(added, out);
    CheckLastContiguous(added);
    mm.out.addend = added.data;
    mm.out.addend_stride = added.Stride(0);
  }
  device::RunBlockScaledMm(mm);
}

void m_grouped_fp8_gemm_nt_contiguous(const Tensor& a, const Tensor& a_scales, const Tensor& b,
                                      const Tensor& b_scales, const Tensor& d,
                                      const Tensor& m_indices) {
  const DeviceCall call("m_grouped_fp8_gemm_nt_contiguous", a);
  device::BlockScaledMm mm = Product(call, {a, a_scales, b, b_scales, d}, false, true);
  mm.row_groups = Values<int32_t>(call.View("m_indices", m_indices), ScalarType::Int, mm.m);
  mm.expected_rows = kBlock;
  device::RunBlockScaledMm(mm);
}

void m_grouped_fp8_gemm_nt_masked(const Tensor& a, const Tensor& a_scales, const Tensor& b,
                                  const Tensor& b_scales, const Tensor& d, const Tensor& masked_m,
                                  int64_t expected_m) {
  const DeviceCall call("m_grouped_fp8_gemm_nt_masked", a);
  device::BlockScaledMm mm = Product(call, {a, a_scales, b, b_scales, d}, true, true);
  mm.group_rows = Values<int32_t>(call.View("masked_m", masked_m), ScalarType::Int, mm.groups);
  mm.expected_rows = std::clamp<int64_t>(expected_m, 1, mm.m);
  device::RunBlockScaledMm(mm);
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
}

VLLM_DEVICE_KERNELS(_deepgemm_C, m) {
  m.impl("fp8_gemm_nt", TORCH_BOX(&fp8_gemm_nt));
  m.impl("m_grouped_fp8_gemm_nt_contiguous", TORCH_BOX(&m_grouped_fp8_gemm_nt_contiguous));
  m.impl("m_grouped_fp8_gemm_nt_masked", TORCH_BOX(&m_grouped_fp8_gemm_nt_masked));
}

}  // namespace vllm
