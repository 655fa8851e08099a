#include "bindings/device/call.h"
#include "flashinfer/sampling.h"

namespace vllm {
namespace {

// One value a row of `rows` where there is a tensor, else `value` for all.
template <typename T>
device::PerRow<T> PerRow(const DeviceCall& call, const char* name,
                         const std::optional<Tensor>& tensor, ScalarType type, int64_t rows,
                         T value) {
  if (!tensor) return {nullptr, value};
  const TensorView view = call.View(name, *tensor);
  CheckType(view, type);
  CheckShape(view, {rows}, "[rows]");
  CheckContiguous(view);
  return {view.Data<T>(), value};
}

// Without filters, at temperature 1.
device::Distributions Rows(const DeviceCall& call, const TensorView& values, bool logits) {
  CheckDim(values, 2);
  CheckLastContiguous(values);
  if (values.Size(1) == 0) Fail(values, "has rows without columns, expected at least one");
  device::Distributions rows{};
  rows.op = call.Op();
  rows.values = values.data;
  rows.row_stride = values.Stride(0);
  rows.rows = values.Size(0);
  rows.columns = values.Size(1);
  rows.logits = logits;
  rows.temperature.value = 1.0f;
  rows.top_p.value = 1.0f;
  rows.type = DeviceFloatType(values);
  rows.stream = call.Stream();
  return rows;
}

// Seeds and offsets: one for all samples, as a number or a tensor of one, or one a sample.
device::PerSample PerSample(const DeviceCall& call, const char* name,
                            const std::optional<Tensor>& tensor, int64_t value, int64_t samples) {
  if (!tensor) return {nullptr, 0, value};
  const TensorView view = call.View(name, *tensor);
  CheckType(view, ScalarType::Long);
  const bool shared = view.Numel() == 1;
  CheckShape(view, {shared ? 1 : samples}, "[1] or [samples]");
  CheckContiguous(view);
  return {view.Data<int64_t>(), shared ? 0 : 1, 0};
}

void sample(const Tensor& values, const Tensor& samples, const std::optional<Tensor>& valid,
            const std::optional<Tensor>& indices, bool from_logits, bool joint,
            const std::optional<Tensor>& top_k, int64_t top_k_value,
            const std::optional<Tensor>& top_p, double top_p_value,
            const std::optional<Tensor>& min_p, double min_p_value,
            const std::optional<Tensor>& seed, int64_t seed_value,
            const std::optional<Tensor>& offset, int64_t offset_value) {
  const DeviceCall call("sample", values);
  const TensorView x = call.View("values", values), out = call.View("samples", samples);
  device::Sampling args{};
  args.from = Rows(call, x, from_logits);
  args.from.joint = joint;
  const int64_t rows = args.from.rows;
  args.from.top_k =
      PerRow(call, "top_k", top_k, ScalarType::Int, rows, static_cast<int32_t>(top_k_value));
  args.from.top_p =
      PerRow(call, "top_p", top_p, ScalarType::Float, rows, static_cast<float>(top_p_value));
  args.from.min_p =
      PerRow(call, "min_p", min_p, ScalarType::Float, rows, static_cast<float>(min_p_value));
  CheckDim(out, 1);
  CheckContiguous(out);
  args.wide = out.Is(ScalarType::Long);
  if (!args.wide) CheckType(out, ScalarType::Int);
  args.count = out.Size(0);
  args.samples = out.data;
  if (indices) {
    const TensorView map = call.View("indices", *indices);
    CheckSameType(map, out);
    CheckSameShape(map, out);
    CheckContiguous(map);
    if (rows == 0 && args.count > 0) Fail(x, "has no rows, expected those that indices name");
    args.indices = map.data;
  } else if (rows != args.count) {
    Fail(out, "has " + std::to_string(args.count) + " places, expected one for each of " +
                  std::to_string(rows) + " rows");
  }
  if (valid) {
    const TensorView flags = call.View("valid", *valid);
    CheckType(flags, ScalarType::Bool);
    CheckSameShape(flags, out);
    CheckContiguous(flags);
    args.valid = flags.Data<bool>();
  }
  args.seed = PerSample(call, "seed", seed, seed_value, args.count);
  args.offset = PerSample(call, "offset", offset, offset_value, args.count);
  device::DrawSamples(args);
}

void CheckOut(const TensorView& out, const TensorView& values) {
  CheckSameShape(out, values);
  CheckContiguous(out);
}

void softmax(const Tensor& out, const Tensor& logits, const std::optional<Tensor>& temperature,
             double temperature_value) {
  const DeviceCall call("softmax", logits);
  const TensorView x = call.View("logits", logits), to = call.View("out", out);
  CheckType(to, ScalarType::Float);
  CheckOut(to, x);
  device::Distributions rows = Rows(call, x, true);
  rows.temperature = PerRow(call, "temperature", temperature, ScalarType::Float, rows.rows,
                            static_cast<float>(temperature_value));
  device::FilterRows({rows, to.data, device::Type::kFloat32, device::Kept::kProbability});
}

void top_p_renorm_probs(const Tensor& out, const Tensor& probs, const std::optional<Tensor>& top_p,
                        double top_p_value) {
  const DeviceCall call("top_p_renorm_probs", probs);
  const TensorView x = call.View("probs", probs), to = call.View("out", out);
  CheckSameType(to, x);
  CheckOut(to, x);
  device::Distributions rows = Rows(call, x, false);
  rows.top_p =
      PerRow(call, "top_p", top_p, ScalarType::Float, rows.rows, static_cast<float>(top_p_value));
  device::FilterRows({rows, to.data, rows.type, device::Kept::kProbability});
}

void KeepTopK(const DeviceCall& call, const char* name, const Tensor& out, const Tensor& values,
              const std::optional<Tensor>& top_k, int64_t top_k_value, device::Kept kept) {
  const TensorView x = call.View(name, values), to = call.View("out", out);
  CheckSameType(to, x);
  CheckOut(to, x);
  device::Distributions rows = Rows(call, x, kept == device::Kept::kValue);
  rows.top_k =
      PerRow(call, "top_k", top_k, ScalarType::Int, rows.rows, static_cast<int32_t>(top_k_value));
  device::FilterRows({rows, to.data, rows.type, kept});
}

void top_k_renorm_probs(const Tensor& out, const Tensor& probs, const std::optional<Tensor>& top_k,
                        int64_t top_k_value) {
  KeepTopK(DeviceCall("top_k_renorm_probs", probs), "probs", out, probs, top_k, top_k_value,
           device::Kept::kProbability);
}

void top_k_mask_logits(const Tensor& out, const Tensor& logits, const std::optional<Tensor>& top_k,
                       int64_t top_k_value) {
  KeepTopK(DeviceCall("top_k_mask_logits", logits), "logits", out, logits, top_k, top_k_value,
           device::Kept::kValue);
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_flashinfer_C, m) {
  m.def(
      "sample(Tensor values, Tensor! samples, Tensor!? valid, Tensor? indices, bool from_logits, "
      "bool joint, Tensor? top_k, int top_k_value, Tensor? top_p, float top_p_value, "
      "Tensor? min_p, float min_p_value, Tensor? seed, int seed_value, Tensor? offset, "
      "int offset_value) -> ()");
  m.def("softmax(Tensor! out, Tensor logits, Tensor? temperature, float temperature_value) -> ()");
  m.def("top_p_renorm_probs(Tensor! out, Tensor probs, Tensor? top_p, float top_p_value) -> ()");
  m.def("top_k_renorm_probs(Tensor! out, Tensor probs, Tensor? top_k, int top_k_value) -> ()");
  m.def("top_k_mask_logits(Tensor! out, Tensor logits, Tensor? top_k, int top_k_value) -> ()");
}

VLLM_DEVICE_KERNELS(_flashinfer_C, m) {
  m.impl("sample", TORCH_BOX(&sample));
  m.impl("softmax", TORCH_BOX(&softmax));
  m.impl("top_p_renorm_probs", TORCH_BOX(&top_p_renorm_probs));
  m.impl("top_k_renorm_probs", TORCH_BOX(&top_k_renorm_probs));
  m.impl("top_k_mask_logits", TORCH_BOX(&top_k_mask_logits));
}

}  // namespace vllm
