// Products of bf16 by AMX, the tile registers of Intel's Xeons from Sapphire Rapids on.
#pragma once

#include <cstdint>

namespace vllm {

// Rows of input that one tile multiplies at most: two tile registers of 16.
inline constexpr int64_t kAmxRows = 32;
// Consecutive k, bf16 each, that one row of a tile register holds.
inline constexpr int64_t kAmxStep = 32;

// k as a packed row of input holds it: padded to whole steps.
inline int64_t AmxPaddedK(int64_t k) { return (k + kAmxStep - 1) / kAmxStep * kAmxStep; }

// Packs rows [rows, k] of bf16, `stride` elements apart, as AmxPanelTile reads them: sixteen rows
// after the other as [padded k / 32][their rows][32], zeros past k; rows * AmxPaddedK(k) elements.
void AmxPackRows(const uint16_t* input, int64_t stride, int64_t rows, int64_t k, uint16_t* packed);

// c, f32 [rows][32], = packed rows (at most kAmxRows) times one panel of a packed weight of bf16
// ([ceil(k / 2)][32][2], cpu/linear.h). A row's sums do not depend on the other rows. Each step of
// k fetches as much again from `prefetch` on into the second-level cache.
void AmxPanelTile(const uint16_t* packed, int64_t rows, const uint16_t* panel, int64_t k, float* c,
                  const char* prefetch);

}  // namespace vllm
