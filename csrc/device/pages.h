// Where a position of a sequence lies in a paged cache.
#pragma once

#include "device/compat.h"

namespace vllm::device {

#if VLLM_KERNELS

struct Place {
  int64_t block;  // -1: there is none
  int slot;
};

// `table` is the sequence's row of the block table. Nothing lies beyond the row's end; entries
// outside the cache read block 0.
VLLM_DEVICE Place FindInPages(const int32_t* table, int64_t max_blocks, int64_t num_blocks,
                              int block_size, int position) {
  const int index = position / block_size;
  if (index >= max_blocks) return {-1, 0};
  const int64_t entry = table[index];
  return {entry < 0 || entry >= num_blocks ? 0 : entry, position - index * block_size};
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
