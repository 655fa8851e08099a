#include "bindings/rotary.h"

#include <optional>

#include "bindings/rotary_offset.h"

namespace vllm {

RotaryTable CheckRotaryTable(const TensorView& cos_sin_cache, const TensorView& like,
                             int64_t head_size) {
  CheckDim(cos_sin_cache, 2);
  CheckLastContiguous(cos_sin_cache);
  if (!cos_sin_cache.Is(ScalarType::Float)) CheckSameType(cos_sin_cache, like);
  const int64_t rotary_size = cos_sin_cache.Size(1);
  if (rotary_size <= 0 || rotary_size % 2 != 0 || rotary_size > head_size) {
    Fail(cos_sin_cache,
         "has shape " + ShapeString(cos_sin_cache) +
             ", expected [max_position, rotary_size] with an even rotary_size of at most " +
             std::to_string(head_size) + ", the head size");
  }
  return {cos_sin_cache.data, cos_sin_cache.Stride(0), rotary_size, FloatType(cos_sin_cache)};
}

void CheckPositions(const TensorView& positions, int64_t limit) {
  CheckType(positions, ScalarType::Long);
  const int64_t outer = positions.dim == 2 ? positions.Size(0) : 1;
  const int64_t outer_stride = positions.dim == 2 ? positions.Stride(0) : 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < positions.Size(-1); ++i) {
      const int64_t position =
          positions.Data<int64_t>()[o * outer_stride + i * positions.Stride(-1)];
      if (position < 0 || position >= limit) {
        Fail(positions, "holds " + std::to_string(position) + ", expected 0 to " +
                            std::to_string(limit - 1) + ", the rows of cos_sin_cache");
      }
    }
  }
}

namespace {

// [tokens..., heads * head_size] or [tokens..., heads, head_size] under `token_dims` token
// dimensions.
HeadsView Heads(const TensorView& tensor, const TensorView& positions, int64_t head_size) {
  CheckLastContiguous(tensor);
  const int64_t token_dims = positions.dim;
  bool fits = tensor.dim == token_dims + 1 || tensor.dim == token_dims + 2;
  for (int64_t i = 0; fits && i < token_dims; ++i) fits = tensor.sizes[i] == positions.sizes[i];
  const bool flat = tensor.dim == token_dims + 1;
  fits = fits && (flat ? tensor.Size(-1) % head_size == 0 : tensor.Size(-1) == head_size);
  if (!fits) {
    Fail(tensor, "has shape " + ShapeString(tensor) + ", expected " + ShapeString(positions) +
                     " (the shape of positions) followed by heads * head_size or heads, head_size "
                     "with head_size " +
                     std::to_string(head_size));
  }
  return {tensor.data, token_dims == 2 ? tensor.Stride(0) : 0, tensor.Stride(token_dims - 1),
          flat ? head_size : tensor.Stride(-2),
          flat ? tensor.Size(-1) / head_size : tensor.Size(-2)};
}

void rotary_embedding(const Tensor& positions, const Tensor& query,
                      const std::optional<Tensor>& key, int64_t head_size,
                      const Tensor& cos_sin_cache, bool is_neox, int64_t rope_dim_offset,
                      bool inverse) {
  constexpr const char* kOp = "rotary_embedding";
  const TensorView p = View(kOp, "positions", positions);
  const TensorView q = View(kOp, "query", query);
  const TensorView table = View(kOp, "cos_sin_cache", cos_sin_cache);
  if (p.dim != 1 && p.dim != 2) {
    Fail(p, "has shape " + ShapeString(p) + ", expected [tokens] or [batch, tokens]");
  }
  if (head_size <= 0 || head_size > kMaxHeadSize) {
    Fail(q, "has head_size " + std::to_string(head_size) + ", expected 1 to " +
                std::to_string(kMaxHeadSize));
  }
  RotaryArgs args{};
  args.dtype = FloatType(q);
  args.query = Heads(q, p, head_size);
  if (key.has_value()) {
    const TensorView k = View(kOp, "key", *key);
    CheckSameType(k, q);
    args.key = Heads(k, p, head_size);
  }
  args.table = CheckRotaryTable(table, q, head_size);
  CheckRotaryOffset(table, rope_dim_offset, head_size);
  const int64_t skipped = rope_dim_offset * static_cast<int64_t>(query.element_size());
  args.query.data = static_cast<char*>(args.query.data) + skipped;
  if (key.has_value()) args.key.data = static_cast<char*>(args.key.data) + skipped;
  CheckPositions(p, table.Size(0));
  args.positions = p.Data<int64_t>();
  args.positions_outer_stride = p.dim == 2 ? p.Stride(0) : 0;
  args.positions_stride = p.Stride(-1);
  args.outer = p.dim == 2 ? p.Size(0) : 1;
  args.tokens = p.Size(-1);
  args.head_size = head_size;
  args.is_neox = is_neox;
  args.inverse = inverse;
  RotaryEmbedding(args);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def(
      "rotary_embedding(Tensor positions, Tensor! query, Tensor!? key, int head_size, Tensor "
      "cos_sin_cache, bool is_neox, int rope_dim_offset=0, bool inverse=False) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) { m.impl("rotary_embedding", TORCH_BOX(&rotary_embedding)); }

}  // namespace vllm
