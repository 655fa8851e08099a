#include "cpu/activation.h"

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/activation.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/math-inl.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

HWY_INLINE VF32 GeluTanh(F32 d, VF32 x) {
  const VF32 cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.044715f), hn::Set(d, 1.0f));
  const VF32 u = hn::Mul(hn::Mul(x, hn::Set(d, 0.7978845608028654f)), cubic);
  // 0.5 (1 + tanh u) is the sigmoid of 2u.
  return hn::Mul(x, Sigmoid(d, hn::Add(u, u)));
}

HWY_INLINE VF32 Gelu(F32 d, VF32 x) {
  const VF32 erf = Erf(d, hn::Mul(x, hn::Set(d, 0.7071067811865476f)));
  return hn::Mul(hn::Mul(x, hn::Set(d, 0.5f)), hn::Add(erf, hn::Set(d, 1.0f)));
}

// a: the gate of two inputs, or the only input.
template <Activation kKind>
HWY_INLINE VF32 Apply(F32 d, VF32 a, VF32 b, VF32 p0, VF32 p1) {
  if constexpr (kKind == Activation::kSiluAndMul) {
    return hn::Mul(hn::Mul(a, Sigmoid(d, a)), b);
  } else if constexpr (kKind == Activation::kMulAndSilu) {
    return hn::Mul(hn::Mul(b, Sigmoid(d, b)), a);
  } else if constexpr (kKind == Activation::kGeluAndMul) {
    return hn::Mul(Gelu(d, a), b);
  } else if constexpr (kKind == Activation::kGeluTanhAndMul) {
    return hn::Mul(GeluTanh(d, a), b);
  } else if constexpr (kKind == Activation::kFatreluAndMul) {
    return hn::Mul(hn::IfThenElseZero(hn::Gt(a, p0), a), b);
  } else if constexpr (kKind == Activation::kSwigluOaiAndMul) {
    const VF32 gate = hn::Min(a, p1);
    const VF32 up = hn::Min(hn::Max(b, hn::Neg(p1)), p1);
    return hn::Mul(hn::Add(up, hn::Set(d, 1.0f)), hn::Mul(gate, Sigmoid(d, hn::Mul(gate, p0))));
  } else if constexpr (kKind == Activation::kGeluTanh) {
    return GeluTanh(d, a);
  } else {
    return hn::Mul(a, Sigmoid(d, hn::Mul(a, hn::Set(d, 1.702f))));
  }
}

template <Activation kKind, typename T>
HWY_INLINE void ActivateRow(const T* HWY_RESTRICT x, T* HWY_RESTRICT out, size_t size, VF32 p0,
                            VF32 p1) {
  constexpr bool kPairs = kKind == Activation::kSwigluOaiAndMul;
  constexpr bool kSingle = kKind == Activation::kGeluTanh || kKind == Activation::kGeluQuick;
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  VF32 a, b = hn::Zero(d);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    if constexpr (kPairs) {
      LoadPairsF32(d, x + 2 * i, a, b);
    } else {
      a = LoadF32(d, x + i);
      if constexpr (!kSingle) b = LoadF32(d, x + size + i);
    }
    StoreF32(Apply<kKind>(d, a, b, p0, p1), d, out + i);
  }
  const size_t rest = size - i;
  if (rest == 0) return;
  if constexpr (kPairs) {
    T pairs[2 * HWY_MAX_BYTES / sizeof(float)] = {};
    for (size_t j = 0; j < 2 * rest; ++j) pairs[j] = x[2 * i + j];
    LoadPairsF32(d, pairs, a, b);
  } else {
    a = LoadF32N(d, x + i, rest);
    if constexpr (!kSingle) b = LoadF32N(d, x + size + i, rest);
  }
  StoreF32N(Apply<kKind>(d, a, b, p0, p1), d, out + i, rest);
}

template <Activation kKind, typename T>
void ActivateRowsOf(const ActivationArgs& args, int64_t begin, int64_t end) {
  const F32 d;
  const VF32 p0 = hn::Set(d, args.params[0]), p1 = hn::Set(d, args.params[1]);
  for (int64_t row = begin; row < end; ++row) {
    ActivateRow<kKind>(static_cast<const T*>(args.input) + args.input_rows.Offset(row),
                       static_cast<T*>(args.out) + args.out_rows.Offset(row),
                       static_cast<size_t>(args.size), p0, p1);
  }
}

template <Activation kKind>
void ActivateRowsAs(const ActivationArgs& args, int64_t begin, int64_t end) {
  VLLM_FOR_DTYPE(args.dtype, T, ActivateRowsOf<kKind, T>(args, begin, end));
}

void ActivateRows(const ActivationArgs& args, int64_t begin, int64_t end) {
  switch (args.kind) {
    case Activation::kSiluAndMul:
      return ActivateRowsAs<Activation::kSiluAndMul>(args, begin, end);
    case Activation::kMulAndSilu:
      return ActivateRowsAs<Activation::kMulAndSilu>(args, begin, end);
    case Activation::kGeluAndMul:
      return ActivateRowsAs<Activation::kGeluAndMul>(args, begin, end);
    case Activation::kGeluTanhAndMul:
      return ActivateRowsAs<Activation::kGeluTanhAndMul>(args, begin, end);
    case Activation::kFatreluAndMul:
      return ActivateRowsAs<Activation::kFatreluAndMul>(args, begin, end);
    case Activation::kSwigluOaiAndMul:
      return ActivateRowsAs<Activation::kSwigluOaiAndMul>(args, begin, end);
    case Activation::kGeluTanh:
      return ActivateRowsAs<Activation::kGeluTanh>(args, begin, end);
    case Activation::kGeluQuick:
      return ActivateRowsAs<Activation::kGeluQuick>(args, begin, end);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(ActivateRows);

void Activate(const ActivationArgs& args) {
  const auto rows = VLLM_DISPATCH(ActivateRows);
  // An exponential costs about as much as another load and store.
  ParallelFor(args.out_rows.Count(), 2 * args.size,
              [&](int64_t begin, int64_t end) { rows(args, begin, end); });
}

}  // namespace vllm
#endif  // HWY_ONCE
