// What packing weights of every kind has in common.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/linear.h"

namespace vllm {

// Row of the weight that is column `column` of panel `panel`; -1 for padding.
inline int64_t WeightRow(int64_t panel, int64_t column, int64_t n, PackOrder order) {
  if (order == PackOrder::kPlain) {
    const int64_t row = panel * kPanelWidth + column;
    return row < n ? row : -1;
  }
  constexpr int64_t kHalf = kPanelWidth / 2;
  const int64_t row = panel * kHalf + column % kHalf;
  if (row >= n / 2) return -1;
  return column < kHalf ? row : n / 2 + row;
}

// Weights are read front to back in every step: larger pages spare page faults now and table walks
// later. Advice only: where the system declines, nothing is lost.
void PreferHugePages(void* memory, size_t bytes);

}  // namespace vllm
