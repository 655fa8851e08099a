// How the threads of a packed linear layer share its work.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>

namespace vllm {

// Row tiles of nearly equal height, none above `max_height`.
struct RowTiles {
  RowTiles(int64_t m, int64_t max_height)
      : count((m + max_height - 1) / max_height), height(m / count), taller(m % count) {}
  int64_t Begin(int64_t tile) const { return tile * height + std::min(tile, taller); }

  int64_t count;
  int64_t height;
  int64_t taller;  // the first tiles have one row more
};

// One call's items, each a panel of the weight times a block of row tiles.
struct LinearWork {
  int64_t m;
  int64_t panels;
  int64_t block_rows;  // rows of input that stay in the second-level cache
  int threads;
  std::atomic<int64_t> next_item{0};
};

// Hands out items in shrinking runs: long ones keep the memory stream going, short ones even out
// the end.
inline std::pair<int64_t, int64_t> TakeItems(std::atomic<int64_t>& next, int64_t count,
                                             int threads) {
  int64_t begin = next.load(std::memory_order_relaxed), size;
  do {
    if (begin >= count) return {count, count};
    size = std::max<int64_t>(1, (count - begin) / (2 * threads));
  } while (!next.compare_exchange_weak(begin, begin + size, std::memory_order_relaxed));
  return {begin, begin + size};
}

// A panel of the weight times the row tiles [first, last).
struct LinearItem {
  int64_t panel;
  int64_t first;
  int64_t last;
};

// Calls run(item, next) for this thread's items; `next` is the panel of the one after, or -1, so
// that it can be fetched meanwhile.
template <class Run>
void RunItems(LinearWork& work, int64_t max_height, const Run& run) {
  const RowTiles tiles(work.m, max_height);
  const int64_t block_tiles = std::max<int64_t>(1, work.block_rows / max_height);
  const int64_t blocks = (tiles.count + block_tiles - 1) / block_tiles;
  const int64_t items = blocks * work.panels;
  const auto take = [&] { return TakeItems(work.next_item, items, work.threads); };
  for (auto [item, end] = take(); item < end;) {
    const auto [next, next_end] = item + 1 < end ? std::pair(item + 1, end) : take();
    const int64_t first = item / work.panels * block_tiles;
    run(LinearItem{item % work.panels, first, std::min(first + block_tiles, tiles.count)},
        next < next_end ? next % work.panels : -1);
    item = next;
    end = next_end;
  }
}

}  // namespace vllm
