// Linear layers over weights that are packed once: out = input * weight^T + bias, sums in f32.
//
// Packed layout of a weight [N, K], the same for every instruction set: panels of 32 rows of the
// weight, which become the columns of a register tile.
//   bf16      [ceil(N/32)][ceil(K/2)][32][2]   pairs of consecutive k, for dot product instructions
//   f16, f32  [ceil(N/32)][K][32]
// Rows past N and the k past K of the last pair are zero. A merged gate and up projection
// (PackOrder::kGateUp) alternates 16 rows of the gate with 16 of the up projection in a panel, so
// that silu(gate) * up is computed while both are in cache.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace vllm {

inline constexpr int64_t kPanelWidth = 32;

enum class PackOrder { kPlain, kGateUp };

struct LinearWeight {
  const void* packed;
  int64_t n;  // rows of the weight before padding, gate and up together
  int64_t k;
  DType dtype;
  PackOrder order;
};

inline int64_t PanelCount(int64_t n, PackOrder order) {
  return order == PackOrder::kPlain ? (n + kPanelWidth - 1) / kPanelWidth
                                    : (n / 2 + kPanelWidth / 2 - 1) / (kPanelWidth / 2);
}

// Elements of one panel, padding included.
inline int64_t PanelElements(int64_t k, DType dtype) {
  return kPanelWidth * (dtype == DType::kBFloat16 ? (k + 1) / 2 * 2 : k);
}

// weight [n, k] with rows `row_stride` elements apart; packed has PanelCount * PanelElements.
void PackLinearWeight(const void* weight, int64_t row_stride, int64_t n, int64_t k, DType dtype,
                      PackOrder order, void* packed);

// out[i] = row ids[i] of the weight that was packed (kPlain), `out_stride` elements apart.
// Ids must lie in [0, n).
void GatherPackedRows(const LinearWeight& weight, const int64_t* ids, int64_t count, void* out,
                      int64_t out_stride);

// Each output is one chain of multiply-adds in the order of k: its bits depend neither on m, nor on
// the row's place, nor on the number of threads.
struct LinearArgs {
  LinearWeight weight;
  const void* input;  // [m, k], weight.dtype
  int64_t m;
  int64_t input_stride;  // elements between rows
  const void* bias;      // [n] of weight.dtype, or null; kPlain only
  void* out;             // [m, n], or [m, n / 2] = silu(gate) * up for kGateUp
  int64_t out_stride;
  DType out_dtype;  // weight.dtype or f32
};
void Linear(const LinearArgs& args);

}  // namespace vllm
