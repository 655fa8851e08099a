#include "bindings/recording.h"

#include <torch/csrc/stable/library.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <unordered_map>

#include "core/parallel.h"

namespace vllm {

thread_local Recording* current_recording = nullptr;

const FetchAhead::Reads* Recording::NextReads(size_t first) const {
  for (size_t i = first; i < calls_.size(); ++i) {
    if (calls_[i].reads) return &calls_[i].reads;
  }
  return nullptr;
}

void Recording::Replay() const {
  thread_local FetchAhead ahead;
  struct Announcing {
    Announcing() { FetchAhead::Current() = &ahead; }
    ~Announcing() { FetchAhead::Current() = nullptr; }
  };
  Team::With(MaxThreads(), [this] {
    const Announcing announcing;
    ahead.Announce(NextReads(0));
    for (size_t i = 0; i < calls_.size(); ++i) {
      calls_[i].run();
      if (calls_[i].reads) ahead.Announce(NextReads(i + 1));
    }
  });
}

namespace {

std::mutex mutex;
std::unordered_map<int64_t, std::shared_ptr<const Recording>> recordings;
int64_t last_id = 0;
thread_local std::shared_ptr<Recording> open_recording;

void begin_recording() {
  open_recording = std::make_shared<Recording>();
  current_recording = open_recording.get();
}

// Handle of what was recorded since begin_recording; 0, and nothing kept, where some op does not
// record its kernels.
int64_t end_recording() {
  if (open_recording == nullptr) {
    throw std::runtime_error(
        "end_recording: nothing is being recorded: call begin_recording first");
  }
  current_recording = nullptr;
  const std::shared_ptr<Recording> recording = std::move(open_recording);
  if (recording->Unrecorded() != nullptr) return 0;
  const std::lock_guard<std::mutex> lock(mutex);
  recordings.emplace(++last_id, recording);
  return last_id;
}

void replay(int64_t id) {
  std::shared_ptr<const Recording> recording;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = recordings.find(id);
    if (found != recordings.end()) recording = found->second;
  }
  if (recording == nullptr) {
    throw std::runtime_error("replay: there is no recording " + std::to_string(id) +
                             ", expected a handle from end_recording that was not dropped");
  }
  recording->Replay();
}

void drop_recording(int64_t id) {
  const std::lock_guard<std::mutex> lock(mutex);
  recordings.erase(id);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def("begin_recording() -> ()");
  m.def("end_recording() -> int");
  m.def("replay(int recording) -> ()");
  m.def("drop_recording(int recording) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CompositeExplicitAutograd, m) {
  m.impl("begin_recording", TORCH_BOX(&begin_recording));
  m.impl("end_recording", TORCH_BOX(&end_recording));
  m.impl("replay", TORCH_BOX(&replay));
  m.impl("drop_recording", TORCH_BOX(&drop_recording));
}

}  // namespace vllm
