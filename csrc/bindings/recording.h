// Records the kernel calls that ops make, so that a step of the same shape can be repeated without
// torch's dispatcher, Python and the checks of arguments.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/fetch_ahead.h"

namespace vllm {

// Kernel calls with their arguments. Addresses are part of them: whoever replays keeps the memory.
class Recording {
 public:
  void Replay() const;
  // `reads`, where it is known: what the call will read that is worth fetching before it.
  void Add(std::function<void()> run, FetchAhead::Reads reads) {
    calls_.push_back({std::move(run), std::move(reads)});
    pending_ = nullptr;
  }
  // An op has begun to read its arguments. One that ends without Add cannot be replayed.
  void Saw(const char* op) {
    if (pending_ != nullptr && pending_ != op) unrecorded_ = pending_;
    pending_ = op;
  }
  // Name of an op that took part but was not recorded; null if there is none.
  const char* Unrecorded() const { return pending_ != nullptr ? pending_ : unrecorded_; }

 private:
  struct Call {
    std::function<void()> run;
    FetchAhead::Reads reads;
  };

  // What the first call from `first` on that says so will read; null if there is none.
  const FetchAhead::Reads* NextReads(size_t first) const;

  std::vector<Call> calls_;
  const char* pending_ = nullptr;
  const char* unrecorded_ = nullptr;
};

// The calling thread's recording; null while none is made.
extern thread_local Recording* current_recording;

// Makes the kernel call of an op, and records it where a recording is made. `call` holds its
// arguments by value, and so does `reads`, as Recording::Add has it.
template <typename Call>
void Launch(const Call& call, FetchAhead::Reads reads = nullptr) {
  call();
  if (current_recording != nullptr) current_recording->Add(call, std::move(reads));
}

}  // namespace vllm
