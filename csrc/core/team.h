// Threads that several kernels in a row share: OpenMP starts and ends one parallel region for all
// of them, and between them a worker waits in a loop instead of in OpenMP, which is faster.
#pragma once

#include <omp.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace vllm {

// A number that threads wait for: in a loop for the few microseconds that lie between two kernels,
// then asleep, so that whoever else needs the processor gets it.
class WaitWord {
 public:
  uint32_t Load() const { return value_.load(std::memory_order_acquire); }
  void Store(uint32_t value) {
    value_.store(value, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) != 0) Wake();
  }
  // Subtracts one; wakes those who wait where nothing is left.
  void Decrease() {
    if (value_.fetch_sub(1, std::memory_order_seq_cst) != 1) return;
    if (sleepers_.load(std::memory_order_seq_cst) != 0) Wake();
  }
  // Returns once ready(value).
  template <class Ready>
  void Await(const Ready& ready) {
    constexpr int kTurns = 1000;  // about 20 microseconds
    for (int turn = 0; turn < kTurns; ++turn) {
      if (ready(Load())) return;
#ifdef __x86_64__
      _mm_pause();
#endif
    }
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    for (uint32_t value; !ready(value = value_.load(std::memory_order_seq_cst));) Sleep(value);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
#ifdef __linux__
  void Sleep(uint32_t value) { syscall(SYS_futex, &value_, FUTEX_WAIT_PRIVATE, value, nullptr); }
  void Wake() { syscall(SYS_futex, &value_, FUTEX_WAKE_PRIVATE, INT32_MAX); }
#else
  void Sleep(uint32_t) { std::this_thread::yield(); }
  void Wake() {}
#endif

  alignas(64) std::atomic<uint32_t> value_{0};
  std::atomic<int> sleepers_{0};
};

class Team {
 public:
  using Function = void (*)(const void* body, int thread);

  // The calling thread's team while it runs With's `calls`; else null.
  static Team*& Current() {
    thread_local Team* current = nullptr;
    return current;
  }

  // Runs calls() with a team of `threads` threads, whose first is the calling one; throws what it
  // throws.
  template <class Calls>
  static void With(int threads, const Calls& calls) {
    if (threads <= 1 || Current() != nullptr) return calls();
    Team team;
    std::exception_ptr error;
#pragma omp parallel num_threads(threads)
    {
      if (omp_get_thread_num() == 0) {
        team.size_ = omp_get_num_threads();
        Current() = &team;
        try {
          calls();
        } catch (...) {
          error = std::current_exception();
        }
        Current() = nullptr;
        team.Publish(nullptr, nullptr, team.size_);
      } else {
        team.Work(omp_get_thread_num());
      }
    }
    if (error) std::rethrow_exception(error);
  }

  int Size() const { return size_; }

  // function(body, thread) on the threads [0, count), count at most Size(); returns when all have
  // ended.
  void Run(int count, Function function, const void* body) {
    Publish(function, body, count);
    function(body, 0);
    pending_.Await([](uint32_t left) { return left == 0; });
  }

  // For the `count` threads of a Run, each of which must come here as often.
  void Barrier(int count) {
    const uint32_t round = round_.Load();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.Store(round + 1);
    } else {
      round_.Await([=](uint32_t now) { return now != round; });
    }
  }

 private:
  void Publish(Function function, const void* body, int count) {
    function_ = function;
    body_ = body;
    count_ = count;
    pending_.Store(static_cast<uint32_t>(size_ - 1));
    epoch_.Store(epoch_.Load() + 1);
  }

  void Work(int thread) {
    for (uint32_t seen = 0;; ++seen) {
      epoch_.Await([=](uint32_t now) { return now != seen; });
      if (function_ == nullptr) return;
      if (thread < count_) function_(body_, thread);
      pending_.Decrease();
    }
  }

  int size_ = 1;
  Function function_ = nullptr;  // null ends the workers
  const void* body_ = nullptr;
  int count_ = 0;
  WaitWord epoch_;    // how often something was published
  WaitWord pending_;  // workers that have not ended it
  WaitWord round_;    // of Barrier
  std::atomic<int> arrived_{0};
};

}  // namespace vllm
