#include "cpu/penalties.h"

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/penalties.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE void PenalizeRow(T* HWY_RESTRICT logits, const uint8_t* HWY_RESTRICT a,
                            const uint8_t* HWY_RESTRICT b, float penalty, size_t size) {
  const F32 d;
  const hn::RebindToUnsigned<F32> du;
  const hn::Rebind<uint8_t, F32> d8;
  const size_t lanes = hn::Lanes(d);
  const VF32 p = hn::Set(d, penalty);
  for (size_t i = 0; i < size; i += lanes) {
    const size_t n = HWY_MIN(lanes, size - i);
    const auto seen8 = hn::Or(hn::LoadN(d8, a + i, n), hn::LoadN(d8, b + i, n));
    const auto seen = hn::RebindMask(d, hn::Ne(hn::PromoteTo(du, seen8), hn::Zero(du)));
    if (hn::AllFalse(d, seen)) continue;
    const VF32 x = LoadF32N(d, logits + i, n);
    const VF32 lower = hn::IfThenElse(hn::Gt(x, hn::Zero(d)), hn::Div(x, p), hn::Mul(x, p));
    StoreF32N(hn::IfThenElse(seen, lower, x), d, logits + i, n);
  }
}

template <typename T>
void PenalizeRowsOf(const RepetitionPenaltyArgs& args, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    if (args.penalties[row] == 1.0f) continue;
    PenalizeRow(static_cast<T*>(args.logits) + row * args.logits_stride,
                reinterpret_cast<const uint8_t*>(args.prompt_mask + row * args.prompt_stride),
                reinterpret_cast<const uint8_t*>(args.output_mask + row * args.output_stride),
                args.penalties[row], static_cast<size_t>(args.vocab));
  }
}

void PenalizeRows(const RepetitionPenaltyArgs& args, int64_t begin, int64_t end) {
  VLLM_FOR_DTYPE(args.dtype, T, PenalizeRowsOf<T>(args, begin, end));
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(PenalizeRows);

void ApplyRepetitionPenalties(const RepetitionPenaltyArgs& args) {
  const auto rows = VLLM_DISPATCH(PenalizeRows);
  ParallelFor(args.rows, args.vocab, [&](int64_t begin, int64_t end) { rows(args, begin, end); });
}

void ApplySparsePenalties(const SparsePenaltyArgs& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    float* logits = args.logits + row * args.logits_stride;
    const float repetition = args.repetition[row];
    for (int32_t i = args.row_offsets[row]; i < args.row_offsets[row + 1]; ++i) {
      float logit = logits[args.token_ids[i]];
      logit = logit > 0.0f ? logit / repetition : logit * repetition;
      if (args.counts[i] > 0) {
        logit -= args.frequency[row] * static_cast<float>(args.counts[i]) + args.presence[row];
      }
      logits[args.token_ids[i]] = logit;
    }
  }
}

}  // namespace vllm
#endif  // HWY_ONCE
