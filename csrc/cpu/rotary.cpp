#include "cpu/rotary.h"

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/rotary.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/rotary-inl.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE void RotateHeads(const HeadsView& view, int64_t outer, int64_t token,
                            const float* HWY_RESTRICT cos_sin, size_t half, bool is_neox) {
  T* head = static_cast<T*>(view.data) + outer * view.outer_stride + token * view.token_stride;
  for (int64_t h = 0; h < view.heads; ++h, head += view.head_stride) {
    Rotate(head, head, cos_sin, half, is_neox);
  }
}

// The row of the negative angle, in `buffer`, which may hold the row.
HWY_INLINE const float* Reversed(const float* cos_sin, float* buffer, size_t half) {
  for (size_t i = 0; i < half; ++i) buffer[i] = cos_sin[i];
  for (size_t i = half; i < 2 * half; ++i) buffer[i] = -cos_sin[i];
  return buffer;
}

template <typename T>
void RotaryTokensOf(const RotaryArgs& args, int64_t begin, int64_t end) {
  HWY_ALIGN float buffer[kMaxHeadSize];
  const size_t half = static_cast<size_t>(args.table.rotary_size / 2);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t outer = i / args.tokens, token = i % args.tokens;
    const int64_t position =
        args.positions[outer * args.positions_outer_stride + token * args.positions_stride];
    const float* cos_sin = TableRow(args.table, position, buffer);
    if (args.inverse) cos_sin = Reversed(cos_sin, buffer, half);
    RotateHeads<T>(args.query, outer, token, cos_sin, half, args.is_neox);
    RotateHeads<T>(args.key, outer, token, cos_sin, half, args.is_neox);
  }
}

void RotaryTokens(const RotaryArgs& args, int64_t begin, int64_t end) {
  VLLM_FOR_DTYPE(args.dtype, T, RotaryTokensOf<T>(args, begin, end));
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(RotaryTokens);

void RotaryEmbedding(const RotaryArgs& args) {
  const auto tokens = VLLM_DISPATCH(RotaryTokens);
  ParallelFor(args.outer * args.tokens, (args.query.heads + args.key.heads) * args.head_size,
              [&](int64_t begin, int64_t end) { tokens(args, begin, end); });
}

}  // namespace vllm
#endif  // HWY_ONCE
