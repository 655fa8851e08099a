// Linear layers over 4- and 8-bit weights: out = input * weight^T + bias.
//
// Weights are unsigned codes q: w = row_scale * group_scale * (q - zero), where a group is
// `group_size` consecutive k of a row. The input is quantised as it comes in, to signed 8-bit codes
// with one scale for each group of a row; products of codes are summed exactly in 32-bit integers
// within a group (dot product instructions where the CPU has them), groups in f32. One group over
// all of k is the usual "int8 weights by channel, activations by token".
//
// A packed weight is one run of bytes that describes itself:
//   header       QuantizedHeader, 64 bytes
//   permutation  i32 [k], padded to 64 bytes; if the columns are in another order than the input's
//   panels       [ceil(n / 32)] of
//     row scales   f32 [32]
//     groups       [ceil(k / group_size)] of
//       scales       f16 [32]; with `scaled`
//       zeros        f16 [32]; with `zeroed`, else zero is the middle code (8 or 128)
//       codes        8-bit: [k of the group / 4][32][4]
//                    4-bit: [k of the group / 8][32][4], low halves of a byte are the first four k
// A row's scale is a power of two where it has group scales, so that those lose nothing as f16.
// Rows past n and k past the last are padding, k to a multiple of 8. The order of gate and up rows
// is as for other weights (linear.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/linear.h"

namespace vllm {

struct QuantizedHeader {
  uint64_t magic;
  int64_t n;  // rows before padding, gate and up together
  int64_t k;
  int64_t group_size;  // a multiple of 8, at most k rounded up to one
  int32_t bits;        // 4 or 8
  int32_t scaled;      // flags
  int32_t zeroed;
  int32_t permuted;
  int32_t gate_up;
  int32_t unused[3];
};
static_assert(sizeof(QuantizedHeader) == 64, "a cache line");

inline constexpr uint64_t kQuantizedMagic = 0x3151'4c4c'4d56'0a1a;
// Sums of 8-bit products of one group fit 32 bits.
inline constexpr int64_t kMaxGroupSize = 65536;

struct QuantizedWeight {
  const uint8_t* panels;
  const int32_t* permutation;  // of the input's columns, or null
  int64_t n;
  int64_t k;
  int64_t group_size;
  int bits;
  bool scaled;
  bool zeroed;
  PackOrder order;

  int64_t PaddedK() const { return (k + 7) / 8 * 8; }
  int64_t Groups() const { return (k + group_size - 1) / group_size; }
  int64_t GroupHeadBytes() const { return (scaled ? 64 : 0) + (zeroed ? 64 : 0); }
  int64_t PanelBytes() const {
    return kPanelWidth * 4 + Groups() * GroupHeadBytes() + PaddedK() * kPanelWidth * bits / 8;
  }
  int64_t PrefixBytes() const { return 64 + (permutation ? (k * 4 + 63) / 64 * 64 : 0); }
  int64_t PackedBytes() const { return PrefixBytes() + PanelCount(n, order) * PanelBytes(); }
};

// What a packed weight is made from.
struct QuantizedSource {
  const uint8_t* codes;  // [n, k]
  const float* scales;   // [n, groups], or [n, 1] with one scale for a whole row
  const int32_t* zeros;  // [n, groups], or null: the middle code
};

// Writes weight.PackedBytes() bytes to `packed`; weight.panels is not read.
void PackQuantizedWeight(const QuantizedWeight& weight, const QuantizedSource& source,
                         void* packed);

// Its parts: what precedes the panels, and the panels.
void WriteQuantizedPrefix(const QuantizedWeight& weight, void* packed);
void PackQuantizedPanels(const QuantizedWeight& weight, const QuantizedSource& source,
                         uint8_t* panels);

// The weight behind packed bytes. False where they do not describe one of `bytes` bytes.
bool ReadQuantizedWeight(const void* packed, int64_t bytes, QuantizedWeight& weight);

// out[i] = row ids[i] of the weight, dequantised to `dtype` (kPlain). Ids must lie in [0, n).
void GatherQuantizedRows(const QuantizedWeight& weight, const int64_t* ids, int64_t count,
                         void* out, int64_t out_stride, DType dtype);

enum class LinearResult {
  kOutputs,
  kPanelMaxima,  // of each panel of 32 outputs the largest; any where one of them is NaN
};

// An output's bits depend on its row of the input and of the weight alone: neither on m, nor on the
// row's place, nor on the number of threads. A row of the input that holds an infinity or a NaN
// gives NaNs.
struct QuantizedLinearArgs {
  QuantizedWeight weight;
  const void* input;  // [m, k]
  DType dtype;        // of input and bias
  int64_t m;
  int64_t input_stride;  // elements between rows
  const void* bias;      // [n], or null; kPlain only
  void* out;  // [m, n]; [m, n / 2] = silu(gate) * up for kGateUp; [m, panels] for kPanelMaxima
  int64_t out_stride;
  DType out_dtype;                               // dtype or f32; f32 for kPanelMaxima
  LinearResult result = LinearResult::kOutputs;  // kPanelMaxima: kPlain, no bias
};
void QuantizedLinear(const QuantizedLinearArgs& args);

}  // namespace vllm
