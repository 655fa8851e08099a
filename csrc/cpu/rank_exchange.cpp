#include "cpu/rank_exchange.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/rank_exchange.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// out [begin, end) = sums over `ranks` slots, `stride` bytes from each other.
template <typename T>
void SumSlotsOf(const char* slots, int64_t stride, int ranks, T* HWY_RESTRICT out, int64_t begin,
                int64_t end) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto slot = [&](int rank) { return reinterpret_cast<const T*>(slots + rank * stride); };
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    VF32 sum = LoadF32(d, slot(0) + i);
    for (int rank = 1; rank < ranks; ++rank) sum = hn::Add(sum, LoadF32(d, slot(rank) + i));
    StoreF32(sum, d, out + i);
  }
  if (i < end) {
    const size_t n = static_cast<size_t>(end - i);
    VF32 sum = LoadF32N(d, slot(0) + i, n);
    for (int rank = 1; rank < ranks; ++rank) sum = hn::Add(sum, LoadF32N(d, slot(rank) + i, n));
    StoreF32N(sum, d, out + i, n);
  }
}

void SumSlots(const char* slots, int64_t stride, int ranks, void* out, DType dtype, int64_t begin,
              int64_t end) {
  VLLM_FOR_DTYPE(dtype, T, SumSlotsOf<T>(slots, stride, ranks, static_cast<T*>(out), begin, end));
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(SumSlots);

namespace {

constexpr int64_t kLine = 64;
using Count = std::atomic<uint64_t>;
static_assert(Count::is_always_lock_free && sizeof(Count) <= kLine, "shared between processes");

Count& CountOf(const RankMemory& memory, int rank) {
  return *reinterpret_cast<Count*>(memory.data + rank * kLine);
}

char* Slots(const RankMemory& memory, uint64_t exchange) {
  const int64_t set = static_cast<int64_t>(exchange % 2) * memory.ranks;
  return memory.data + memory.ranks * kLine + set * memory.SlotBytes();
}

bool HasEnded(const RankMemory& memory, int rank) {
  if (memory.locks < 0 || rank == memory.rank) return false;
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = rank;
  lock.l_len = 1;
  return fcntl(memory.locks, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

// Ranks come together within microseconds where each has cores of its own. Where they share cores,
// or one of them does something else, waiting must leave the cores to them.
void WaitFor(const RankMemory& memory, int rank, uint64_t count) {
  using Clock = std::chrono::steady_clock;
  constexpr int kYields = 1000;
  constexpr std::chrono::microseconds kNap(50);
  constexpr std::chrono::milliseconds kLook(100);
  const Count& theirs = CountOf(memory, rank);
  const auto has_come = [&] { return theirs.load(std::memory_order_acquire) >= count; };
  for (int turn = 0; turn < kYields; ++turn) {
    if (has_come()) return;
    std::this_thread::yield();
  }
  for (Clock::time_point looked{}; !has_come(); std::this_thread::sleep_for(kNap)) {
    if (Clock::now() - looked < kLook) continue;
    looked = Clock::now();
    // It may have come and ended between the two questions.
    if (HasEnded(memory, rank) && !has_come()) {
      throw std::runtime_error("rank " + std::to_string(rank) + " has ended");
    }
  }
}

// Puts x [bytes] into this rank's slot; returns the first of all ranks' slots once they are filled.
const char* Exchange(const RankMemory& memory, const void* x, int64_t bytes) {
  Count& own = CountOf(memory, memory.rank);
  const uint64_t exchange = own.load(std::memory_order_relaxed);
  char* slots = Slots(memory, exchange);
  char* slot = slots + memory.rank * memory.SlotBytes();
  ParallelFor(bytes, 1, [&](int64_t begin, int64_t end) {
    std::memcpy(slot + begin, static_cast<const char*>(x) + begin, end - begin);
  });
  own.store(exchange + 1, std::memory_order_release);
  for (int rank = 0; rank < memory.ranks; ++rank) WaitFor(memory, rank, exchange + 1);
  return slots;
}

}  // namespace

int64_t RankMemory::SlotBytes() const {
  return (bytes - ranks * kLine) / (2 * ranks) / kLine * kLine;
}

void SumOverRanks(const RankMemory& memory, void* x, int64_t size, DType dtype) {
  const auto sum = VLLM_DISPATCH(SumSlots);
  const int64_t element = static_cast<int64_t>(ElementSize(dtype)), most = memory.SlotBytes();
  for (int64_t at = 0; at < size * element; at += most) {
    char* piece = static_cast<char*>(x) + at;
    const int64_t bytes = std::min(most, size * element - at);
    const char* slots = Exchange(memory, piece, bytes);
    ParallelFor(bytes / element, memory.ranks, [&](int64_t begin, int64_t end) {
      sum(slots, most, memory.ranks, piece, dtype, begin, end);
    });
  }
}

void GatherOnFirstRank(const RankMemory& memory, const void* x, int64_t bytes, void* out) {
  const int64_t most = memory.SlotBytes();
  for (int64_t at = 0; at < bytes; at += most) {
    const int64_t count = std::min(most, bytes - at);
    const char* slots = Exchange(memory, static_cast<const char*>(x) + at, count);
    if (out == nullptr) continue;
    for (int rank = 0; rank < memory.ranks; ++rank) {
      char* to = static_cast<char*>(out) + rank * bytes + at;
      const char* from = slots + rank * most;
      ParallelFor(count, 1, [&](int64_t begin, int64_t end) {
        std::memcpy(to + begin, from + begin, end - begin);
      });
    }
  }
}

}  // namespace vllm
#endif  // HWY_ONCE
