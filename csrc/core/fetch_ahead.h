// Memory that the next kernel of a replay will read. A kernel that multiplies for longer than it
// reads fetches it meanwhile into the caches, so that memory is not idle now and the limit then.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace vllm {

class FetchAhead {
 public:
  // Calls Add for what a kernel will read, in its order.
  using Reads = std::function<void(FetchAhead&)>;

  struct Span {
    const char* begin;
    const char* end;
  };

  // Of the replay that the calling thread runs; null outside of one.
  static FetchAhead*& Current() {
    thread_local FetchAhead* current = nullptr;
    return current;
  }

  // What will be read next, or null; forgets what was not taken. For the thread that runs kernels,
  // as is Any.
  void Announce(const Reads* reads) {
    announced_ = reads;
    spans_.clear();
    room_ = kMostBytes;
    next_.store(0, std::memory_order_relaxed);
  }

  // Whether there is anything to fetch; only now is it listed.
  bool Any() {
    if (announced_ != nullptr) (*std::exchange(announced_, nullptr))(*this);
    return next_.load(std::memory_order_relaxed) < spans_.size();
  }

  // False, and nothing is added, where no more should be fetched.
  bool Add(const void* at, int64_t bytes) {
    if (bytes > room_) return false;
    room_ -= bytes;
    spans_.push_back({static_cast<const char*>(at), static_cast<const char*>(at) + bytes});
    return true;
  }

  // On any thread: the next span, which nobody else gets; false where there is none.
  bool Take(Span* span) {
    const size_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index < spans_.size()) *span = spans_[index];
    return index < spans_.size();
  }

 private:
  // More would push the first of it out of a last-level cache that others use, too.
  static constexpr int64_t kMostBytes = int64_t{8} << 20;

  const Reads* announced_ = nullptr;
  std::vector<Span> spans_;
  std::atomic<size_t> next_{0};
  int64_t room_ = 0;
};

// One thread's way through the spans, a cache line at a time.
class FetchCursor {
 public:
  explicit FetchCursor(FetchAhead* ahead) : ahead_(ahead) {}

  // Null where nothing is left.
  const char* NextLine() {
    if (span_.begin >= span_.end && !Refill()) return nullptr;
    return std::exchange(span_.begin, span_.begin + kLine);
  }

 private:
  static constexpr int64_t kLine = 64;

  bool Refill() {
    if (ahead_ != nullptr && !ahead_->Take(&span_)) ahead_ = nullptr;
    return ahead_ != nullptr;
  }

  FetchAhead* ahead_;
  FetchAhead::Span span_{nullptr, nullptr};
};

}  // namespace vllm
