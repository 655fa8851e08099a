#include "device/top_k.h"

#include "bindings/device/call.h"

namespace vllm {
namespace {

const int32_t* Ints(const TensorView& view, int64_t size, const char* meaning) {
  CheckType(view, ScalarType::Int);
  CheckContiguous(view);
  if (view.Numel() < size) {
    Fail(view, "has shape " + ShapeString(view) + ", expected at least " + std::to_string(size) +
                   " values = " + meaning);
  }
  return view.Data<int32_t>();
}

device::TopK TopKOf(const DeviceCall& call, const Tensor& logits, const Tensor& indices,
                    int64_t rows, int64_t row_stride, int64_t column_stride, int64_t k) {
  const TensorView x = call.View("logits", logits), out = call.View("indices", indices);
  CheckType(x, ScalarType::Float);
  CheckDim(x, 2);
  if (rows < 0 || rows > x.Size(0) || row_stride != x.Stride(0) || column_stride != x.Stride(1)) {
    Fail(x, "has shape " + ShapeString(x) + " and strides " + std::to_string(x.Stride(0)) + ", " +
                std::to_string(x.Stride(1)) + ", expected at least numRows = " +
                std::to_string(rows) + " rows and the strides that are given, " +
                std::to_string(row_stride) + " and " + std::to_string(column_stride));
  }
  if (k < 1 || k > INT32_MAX) call.Fail("topK is " + std::to_string(k) + ", expected at least 1");
  CheckType(out, ScalarType::Int);
  CheckShape(out, {-1, k}, "[rows, topK]");
  CheckContiguous(out);
  if (out.Size(0) < rows) {
    Fail(out, "has " + std::to_string(out.Size(0)) +
                  " rows, expected numRows = " + std::to_string(rows));
  }
  device::TopK args{};
  args.op = call.Op();
  args.logits = x.Data<float>();
  args.row_stride = row_stride;
  args.column_stride = column_stride;
  args.indices = out.Data<int32_t>();
  args.rows = rows;
  args.columns = x.Size(1);
  args.k = static_cast<int>(k);
  args.stream = call.Stream();
  return args;
}

void top_k_per_row_prefill(const Tensor& logits, const Tensor& row_starts, const Tensor& row_ends,
                           const Tensor& indices, int64_t rows, int64_t stride0, int64_t stride1,
                           int64_t k) {
  const DeviceCall call("top_k_per_row_prefill", logits);
  device::TopK args = TopKOf(call, logits, indices, rows, stride0, stride1, k);
  args.starts = Ints(call.View("rowStarts", row_starts), rows, "numRows");
  args.ends = Ints(call.View("rowEnds", row_ends), rows, "numRows");
  device::SelectTopK(args);
}

void top_k_per_row_decode(const Tensor& logits, int64_t next_n, const Tensor& seq_lens,
                          const Tensor& indices, int64_t rows, int64_t stride0, int64_t stride1,
                          int64_t k) {
  const DeviceCall call("top_k_per_row_decode", logits);
  if (next_n < 1) call.Fail("next_n is " + std::to_string(next_n) + ", expected at least 1");
  device::TopK args = TopKOf(call, logits, indices, rows, stride0, stride1, k);
  args.rows_a_seq = next_n;
  args.ends =
      Ints(call.View("seq_lens", seq_lens), (rows + next_n - 1) / next_n, "numRows / next_n");
  device::SelectTopK(args);
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C, m) {
  m.def(
      "top_k_per_row_prefill(Tensor logits, Tensor rowStarts, Tensor rowEnds, Tensor! indices, "
      "int numRows, int stride0, int stride1, int topK) -> ()");
  m.def(
      "top_k_per_row_decode(Tensor logits, int next_n, Tensor seq_lens, Tensor! indices, "
      "int numRows, int stride0, int stride1, int topK) -> ()");
}

VLLM_DEVICE_KERNELS(_C, m) {
  m.impl("top_k_per_row_prefill", TORCH_BOX(&top_k_per_row_prefill));
  m.impl("top_k_per_row_decode", TORCH_BOX(&top_k_per_row_decode));
}

}  // namespace vllm
