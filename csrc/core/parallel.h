// Splits a loop over torch's OpenMP threads.
#pragma once

#include <algorithm>
#include <cstdint>

namespace vllm {

// torch's thread count for the calling thread; defined by the binding layer.
int MaxThreads();

// Elements (or operations of similar cost) below which a second thread costs more than it brings.
inline constexpr int64_t kMinWorkPerThread = 16 * 1024;

// Calls body(begin, end) for consecutive parts of [0, count). `work_per_item` is the cost of one
// item in elements. One item, or little work, stays on the calling thread and enters no parallel
// region. `body` must not throw.
template <typename Body>
void ParallelFor(int64_t count, int64_t work_per_item, const Body& body) {
  const int64_t work = count * std::max<int64_t>(work_per_item, 1);
  int64_t threads = std::min(count, work / kMinWorkPerThread);
  if (threads > 1) threads = std::min<int64_t>(threads, MaxThreads());
  if (threads <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static, 1)
  for (int64_t part = 0; part < threads; ++part) {
    body(part * count / threads, (part + 1) * count / threads);
  }
}

}  // namespace vllm
