// Splits work over torch's OpenMP threads, or over the team that they already are.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "core/team.h"

namespace vllm {

// torch's thread count for the calling thread; defined by the binding layer.
int MaxThreads();

// Elements (or operations of similar cost) below which a second thread costs more than it brings.
inline constexpr int64_t kMinWorkPerThread = 16 * 1024;

// One of the threads that RunParallel's body runs on.
struct Worker {
  int index;
  int count;
  Team* team;  // null: OpenMP's

  // Waits for the others.
  void Barrier() const {
    if (team != nullptr) return team->Barrier(count);
#pragma omp barrier
  }
};

// Calls body(worker) on `threads` threads, or on fewer where there are no more. `body` must not
// throw.
template <typename Body>
void RunParallel(int threads, const Body& body) {
  if (Team* team = Team::Current()) {
    struct Call {
      const Body& body;
      int count;
      Team* team;
    };
    const Call call{body, std::min(threads, team->Size()), team};
    return team->Run(
        call.count,
        [](const void* data, int thread) {
          const Call& shared = *static_cast<const Call*>(data);
          shared.body(Worker{thread, shared.count, shared.team});
        },
        &call);
  }
#pragma omp parallel num_threads(threads)
  body(Worker{omp_get_thread_num(), omp_get_num_threads(), nullptr});
}

// Calls body(begin, end) for consecutive parts of [0, count). `work_per_item` is the cost of one
// item in elements. One item, or little work, stays on the calling thread. `body` must not throw.
template <typename Body>
void ParallelFor(int64_t count, int64_t work_per_item, const Body& body) {
  const int64_t work = count * std::max<int64_t>(work_per_item, 1);
  int64_t threads = std::min(count, work / kMinWorkPerThread);
  if (threads > 1) threads = std::min<int64_t>(threads, MaxThreads());
  if (threads <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
  RunParallel(static_cast<int>(threads), [&](const Worker& worker) {
    body(worker.index * count / worker.count, (worker.index + 1) * count / worker.count);
  });
}

}  // namespace vllm
