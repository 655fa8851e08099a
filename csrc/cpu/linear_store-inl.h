// From register tiles to a linear layer's output, for one Highway target at a time.
#include "cpu/linear.h"
#include "cpu/math-inl.h"
#include "cpu/vec-inl.h"

#if defined(VLLM_CPU_LINEAR_STORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLLM_CPU_LINEAR_STORE_INL_H_
#undef VLLM_CPU_LINEAR_STORE_INL_H_
#else
#define VLLM_CPU_LINEAR_STORE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

constexpr int kPanel = static_cast<int>(kPanelWidth);
constexpr int kLanes = static_cast<int>(hn::MaxLanes(F32()));
constexpr int kPanelVecs = kPanel / kLanes;
// Vector registers that hold sums, of 32 or 16.
constexpr int kSums = HWY_MAX_BYTES == 64 || !HWY_ARCH_X86 ? 24 : 12;
constexpr int kMaxRows = kSums / 2;

// Vectors of columns that `rows` rows of a register tile leave room for.
constexpr int VecsFor(int rows) {
  int vecs = kPanelVecs;
  while (vecs * rows > kSums) vecs /= 2;
  return vecs;
}

// out = tile + bias, converted.
template <typename T, typename Out>
void StoreTile(const float* HWY_RESTRICT tile, int64_t rows, int64_t columns,
               const T* HWY_RESTRICT bias, Out* HWY_RESTRICT out, int64_t out_stride) {
  const F32 df;
  for (int64_t j = 0; j < columns; j += kLanes) {
    const size_t n = static_cast<size_t>(std::min<int64_t>(kLanes, columns - j));
    const VF32 b = bias ? LoadF32N(df, bias + j, n) : hn::Zero(df);
    for (int64_t r = 0; r < rows; ++r) {
      const VF32 v = hn::Add(hn::LoadU(df, tile + r * kPanel + j), b);
      if (n == kLanes) {
        StoreF32(v, df, out + r * out_stride + j);
      } else {
        StoreF32N(v, df, out + r * out_stride + j, n);
      }
    }
  }
}

// out = silu(first half of the panel) * second half.
template <typename Out>
void StoreSiluAndMul(const float* HWY_RESTRICT tile, int64_t rows, int64_t columns,
                     Out* HWY_RESTRICT out, int64_t out_stride) {
  const F32 df;
  for (int64_t r = 0; r < rows; ++r, tile += kPanel, out += out_stride) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      const VF32 gate = hn::LoadU(df, tile + j), up = hn::LoadU(df, tile + kPanel / 2 + j);
      const VF32 v = hn::Mul(hn::Mul(gate, Sigmoid(df, gate)), up);
      if (j + kLanes <= columns) {
        StoreF32(v, df, out + j);
      } else {
        StoreF32N(v, df, out + j, static_cast<size_t>(columns - j));
      }
    }
  }
}

// tile is f32 [rows][32]: `panel`'s columns of the rows from `row` on. Args is LinearArgs, or has
// its fields for another kind of weight.
template <typename T, typename Out, class Args>
void StorePanelTile(const Args& args, int64_t panel, int64_t row, int64_t rows, const float* tile) {
  Out* out = static_cast<Out*>(args.out) + row * args.out_stride;
  if (args.weight.order == PackOrder::kGateUp) {
    constexpr int64_t kHalf = kPanel / 2;
    StoreSiluAndMul(tile, rows, std::min(kHalf, args.weight.n / 2 - panel * kHalf),
                    out + panel * kHalf, args.out_stride);
  } else {
    const int64_t column = panel * kPanel;
    const T* bias = args.bias ? static_cast<const T*>(args.bias) + column : nullptr;
    StoreTile(tile, rows, std::min<int64_t>(kPanel, args.weight.n - column), bias, out + column,
              args.out_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();
#endif  // per-target include guard
