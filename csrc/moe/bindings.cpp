#include "bindings/device/call.h"
#include "moe/routing.h"
#include "moe/wna16.h"

namespace vllm {
namespace {

// i32, contiguous.
int32_t* Ints(const TensorView& view, int64_t count, const char* meaning) {
  CheckType(view, ScalarType::Int);
  CheckContiguous(view);
  if (view.Numel() != count) {
    Fail(view, "has shape " + ShapeString(view) + ", expected " + std::to_string(count) +
                   " values = " + meaning);
  }
  return view.Data<int32_t>();
}

int Experts(const DeviceCall& call, int64_t experts) {
  if (experts < 1 || experts > device::kMaxExperts) {
    call.Fail("there are " + std::to_string(experts) + " experts, expected 1 to " +
              std::to_string(device::kMaxExperts));
  }
  return static_cast<int>(experts);
}

void topk_softmax(const Tensor& topk_weights, const Tensor& topk_indices,
                  const Tensor& token_expert_indices, const Tensor& gating_output) {
  const DeviceCall call("topk_softmax", gating_output);
  const TensorView gating = call.View("gating_output", gating_output);
  const TensorView weights = call.View("topk_weights", topk_weights);
  CheckDim(gating, 2);
  CheckLastContiguous(gating);
  CheckType(weights, ScalarType::Float);
  CheckShape(weights, {gating.Size(0), -1}, "[tokens, top_k]");
  CheckContiguous(weights);
  const int64_t top_k = weights.Size(1), choices = weights.Numel();
  if (top_k > gating.Size(1)) {
    Fail(weights, "has top_k " + std::to_string(top_k) + ", expected at most the " +
                      std::to_string(gating.Size(1)) + " experts");
  }
  device::RunTopkSoftmax(
      {call.Op(), gating.data, gating.Stride(0), weights.Data<float>(),
       Ints(call.View("topk_indices", topk_indices), choices, "tokens * top_k"),
       Ints(call.View("token_expert_indices", token_expert_indices), choices, "tokens * top_k"),
       gating.Size(0), Experts(call, gating.Size(1)), static_cast<int>(top_k),
       DeviceFloatType(gating), call.Stream()});
}

// The schema names the summands `input` and calls them mutated; they are only read.
void moe_sum(const Tensor& input, const Tensor& output) {
  const DeviceCall call("moe_sum", input);
  const TensorView x = call.View("input", input), out = call.View("output", output);
  CheckDim(x, 3);
  CheckContiguous(x);
  CheckSameType(out, x);
  CheckShape(out, {x.Size(0), x.Size(2)}, "[tokens, hidden]");
  CheckContiguous(out);
  device::CombineRows({call.Op(), x.data, out.data, nullptr, nullptr, x.Size(0), x.Size(2),
                       static_cast<int>(x.Size(1)), DeviceFloatType(x), call.Stream()});
}

void moe_align_block_size(const Tensor& topk_ids, int64_t num_experts, int64_t block_size,
                          const Tensor& sorted_token_ids, const Tensor& experts_ids,
                          const Tensor& num_tokens_post_pad) {
  const DeviceCall call("moe_align_block_size", topk_ids);
  const TensorView ids = call.View("topk_ids", topk_ids);
  const TensorView sorted = call.View("sorted_token_ids", sorted_token_ids);
  const TensorView blocks = call.View("experts_ids", experts_ids);
  const int64_t choices = ids.Numel();
  if (block_size < 1 || block_size > 65536) {
    call.Fail("block_size is " + std::to_string(block_size) + ", expected 1 to 65536");
  }
  // Without a host's look at the ids: each expert's last block may hold one choice.
  const int64_t filled = choices < num_experts ? choices : num_experts;
  const int64_t needed = choices + filled * (block_size - 1);
  if (sorted.Numel() < needed || blocks.Numel() * block_size < needed) {
    Fail(sorted, "has " + std::to_string(sorted.Numel()) + " entries and experts_ids " +
                     std::to_string(blocks.Numel()) + ", expected room for " +
                     std::to_string(needed) + " rows: choices, and padding of every expert");
  }
  device::AlignToBlocks(
      {call.Op(), Ints(ids, choices, "tokens * top_k"), choices, Experts(call, num_experts),
       static_cast<int>(block_size), Ints(sorted, sorted.Numel(), "padded choices"), sorted.Numel(),
       Ints(blocks, blocks.Numel(), "blocks"), blocks.Numel(),
       Ints(call.View("num_tokens_post_pad", num_tokens_post_pad), 1, "the total"), call.Stream()});
}

struct Choices {
  int64_t tokens;
  int64_t count;
};

Choices ChoicesOf(const TensorView& ids, int64_t topk) {
  CheckShape(ids, {-1, topk}, "[tokens, topk]");
  return {ids.Size(0), ids.Numel()};
}

// token_expert_indicies is not read: choices are numbered by their place in topk_ids.
void moe_permute(const Tensor& input, const Tensor& /*topk_weight*/, const Tensor& topk_ids,
                 const Tensor& /*token_expert_indicies*/, int64_t n_expert, int64_t topk,
                 const Tensor& permuted_input, const Tensor& expert_first_token_offset,
                 const Tensor& src_row_id2dst_row_id_map) {
  const DeviceCall call("moe_permute", input);
  const TensorView x = call.View("input", input), ids = call.View("topk_ids", topk_ids);
  const TensorView out = call.View("permuted_input", permuted_input);
  const TensorView first = call.View("expert_first_token_offset", expert_first_token_offset);
  const Choices choices = ChoicesOf(ids, topk);
  CheckShape(x, {choices.tokens, -1}, "[tokens, hidden]");
  CheckContiguous(x);
  CheckSameType(out, x);
  CheckShape(out, {choices.count, x.Size(1)}, "[tokens * topk, hidden]");
  CheckContiguous(out);
  CheckType(first, ScalarType::Long);
  CheckShape(first, {n_expert + 1}, "[n_expert + 1]");
  CheckContiguous(first);
  device::PermuteRows({call.Op(), x.data, out.data, Ints(ids, choices.count, "tokens * topk"),
                       first.Data<int64_t>(),
                       Ints(call.View("src_row_id2dst_row_id_map", src_row_id2dst_row_id_map),
                            choices.count, "tokens * topk"),
                       choices.count, x.Size(1), Experts(call, n_expert), static_cast<int>(topk),
                       DeviceFloatType(x), call.Stream()});
}

void moe_unpermute(const Tensor& permuted_hidden_states, const Tensor& topk_weights,
                   const Tensor& topk_ids, const Tensor& src_row_id2dst_row_id_map,
                   int64_t /*n_expert*/, int64_t topk, const Tensor& hidden_states) {
  const DeviceCall call("moe_unpermute", permuted_hidden_states);
  const TensorView rows = call.View("permuted_hidden_states", permuted_hidden_states);
  const TensorView weights = call.View("topk_weights", topk_weights);
  const TensorView out = call.View("hidden_states", hidden_states);
  const Choices choices = ChoicesOf(call.View("topk_ids", topk_ids), topk);
  CheckShape(rows, {choices.count, -1}, "[tokens * topk, hidden]");
  CheckContiguous(rows);
  CheckSameType(out, rows);
  CheckShape(out, {choices.tokens, rows.Size(1)}, "[tokens, hidden]");
  CheckContiguous(out);
  CheckType(weights, ScalarType::Float);
  CheckShape(weights, {choices.tokens, topk}, "[tokens, topk]");
  CheckContiguous(weights);
  device::CombineRows({call.Op(), rows.data, out.data, weights.Data<float>(),
                       Ints(call.View("src_row_id2dst_row_id_map", src_row_id2dst_row_id_map),
                            choices.count, "tokens * topk"),
                       choices.tokens, rows.Size(1), static_cast<int>(topk), DeviceFloatType(rows),
                       call.Stream()});
}

// Contiguous, of the shape.
const TensorView& Checked(const TensorView& view, ScalarType type,
                          std::initializer_list<int64_t> shape, const char* meaning) {
  CheckType(view, type);
  CheckShape(view, shape, meaning);
  CheckContiguous(view);
  return view;
}

// That it is read in vectors of so many bytes.
void CheckStart(const TensorView& view, int64_t bytes) {
  if (device::IsAligned(view.data, static_cast<size_t>(bytes))) return;
  Fail(view, "does not start at a multiple of " + std::to_string(bytes) + " bytes; copy it");
}

// Tiles are chosen here: BLOCK_SIZE_N and BLOCK_SIZE_K are not read.
Tensor moe_wna16_gemm(const Tensor& input, const Tensor& output, const Tensor& b_qweight,
                      const Tensor& b_scales, const std::optional<Tensor>& b_qzeros,
                      const std::optional<Tensor>& topk_weights, const Tensor& sorted_token_ids,
                      const Tensor& expert_ids, const Tensor& num_tokens_post_pad, int64_t top_k,
                      int64_t block_size_m, int64_t /*block_size_n*/, int64_t /*block_size_k*/,
                      int64_t bit) {
  const DeviceCall call("moe_wna16_gemm", input);
  const TensorView x = call.View("input", input), out = call.View("output", output);
  const TensorView codes = call.View("b_qweight", b_qweight);
  const TensorView scales = call.View("b_scales", b_scales);
  const TensorView sorted = call.View("sorted_token_ids", sorted_token_ids);
  const TensorView blocks = call.View("expert_ids", expert_ids);
  if (bit != 4 && bit != 8) call.Fail("bit is " + std::to_string(bit) + ", expected 4 or 8");
  if (top_k < 1) call.Fail("top_k is " + std::to_string(top_k) + ", expected at least 1");
  if (block_size_m < 1 || block_size_m > 64) {
    call.Fail("BLOCK_SIZE_M is " + std::to_string(block_size_m) + ", expected 1 to 64");
  }
  const device::Type type = DeviceFloatType(x);
  if (type == device::Type::kFloat32) Fail(x, "is float32, expected bfloat16 or float16");
  CheckDim(x, 2);
  CheckContiguous(x);
  CheckDim(codes, 3);
  CheckDim(scales, 3);
  const int64_t k = x.Size(1), experts = codes.Size(0), n = codes.Size(1), groups = scales.Size(2);
  if (groups < 1 || k % groups != 0 || k / groups % 32 != 0) {
    Fail(scales, "has " + std::to_string(groups) + " groups of " + std::to_string(k) +
                     " columns of the input, expected groups of a multiple of 32");
  }
  CheckStart(x, 16);
  Checked(codes, ScalarType::Byte, {-1, -1, k * bit / 8}, "[experts, n, k * bit / 8]");
  CheckStart(codes, bit);  // 8 codes
  CheckSameType(scales, x);
  CheckShape(scales, {experts, n, groups}, "[experts, n, groups]");
  CheckContiguous(scales);
  CheckSameType(out, x);
  if (out.Numel() != x.Size(0) * top_k * n) {
    Fail(out, "has shape " + ShapeString(out) + ", expected [tokens * top_k, n] = [" +
                  std::to_string(x.Size(0) * top_k) + ", " + std::to_string(n) + "]");
  }
  CheckContiguous(out);
  const uint8_t* zeros = nullptr;
  if (b_qzeros) {
    const TensorView view = call.View("b_qzeros", *b_qzeros);
    zeros = Checked(view, ScalarType::Byte, {experts, n * bit / 8, groups},
                    "[experts, n * bit / 8, groups]")
                .Data<uint8_t>();
  }
  const float* weights = nullptr;
  if (topk_weights) {
    const TensorView view = call.View("topk_weights", *topk_weights);
    CheckType(view, ScalarType::Float);
    CheckContiguous(view);
    if (view.Numel() != x.Size(0) * top_k) {
      Fail(view, "has shape " + ShapeString(view) + ", expected " +
                     std::to_string(x.Size(0) * top_k) + " values = tokens * top_k");
    }
    weights = view.Data<float>();
  }
  // Blocks that both lists have room for.
  const int64_t listed = sorted.Numel() / block_size_m;
  const int64_t count = listed < blocks.Numel() ? listed : blocks.Numel();
  device::MultiplyExperts(
      {call.Op(),
       x.data,
       out.data,
       codes.Data<uint8_t>(),
       scales.data,
       zeros,
       weights,
       Ints(sorted, sorted.Numel(), "padded choices"),
       Ints(blocks, blocks.Numel(), "blocks"),
       Ints(call.View("num_tokens_post_pad", num_tokens_post_pad), 1, "the total"),
       x.Size(0),
       count,
       Experts(call, experts),
       static_cast<int>(top_k),
       static_cast<int>(block_size_m),
       static_cast<int>(n),
       static_cast<int>(k),
       static_cast<int>(k / groups),
       static_cast<int>(bit),
       type,
       call.Stream()});
  return output;
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_moe_C, m) {
  m.def(
      "topk_softmax(Tensor! topk_weights, Tensor! topk_indices, Tensor! token_expert_indices, "
      "Tensor gating_output) -> ()");
  m.def("moe_sum(Tensor! input, Tensor output) -> ()");
  m.def(
      "moe_align_block_size(Tensor topk_ids, int num_experts, int block_size, "
      "Tensor! sorted_token_ids, Tensor! experts_ids, Tensor! num_tokens_post_pad) -> ()");
  m.def(
      "moe_permute(Tensor! input, Tensor! topk_weight, Tensor! topk_ids, "
      "Tensor! token_expert_indicies, int n_expert, int topk, Tensor! permuted_input, "
      "Tensor! expert_first_token_offset, Tensor! src_row_id2dst_row_id_map) -> ()");
  m.def(
      "moe_unpermute(Tensor! permuted_hidden_states, Tensor! topk_weights, Tensor! topk_ids, "
      "Tensor! src_row_id2dst_row_id_map, int n_expert, int topk, Tensor! hidden_states) -> ()");
  m.def(
      "moe_wna16_gemm(Tensor input, Tensor! output, Tensor b_qweight, Tensor b_scales, "
      "Tensor? b_qzeros, Tensor? topk_weights, Tensor sorted_token_ids, Tensor expert_ids, "
      "Tensor num_tokens_post_pad, int top_k, int BLOCK_SIZE_M, int BLOCK_SIZE_N, "
      "int BLOCK_SIZE_K, int bit) -> Tensor");
}

VLLM_DEVICE_KERNELS(_moe_C, m) {
  m.impl("topk_softmax", TORCH_BOX(&topk_softmax));
  m.impl("moe_sum", TORCH_BOX(&moe_sum));
  m.impl("moe_align_block_size", TORCH_BOX(&moe_align_block_size));
  m.impl("moe_permute", TORCH_BOX(&moe_permute));
  m.impl("moe_unpermute", TORCH_BOX(&moe_unpermute));
  m.impl("moe_wna16_gemm", TORCH_BOX(&moe_wna16_gemm));
}

}  // namespace vllm
