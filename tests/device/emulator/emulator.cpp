#include "emulator.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace emulator {

Thread* current = nullptr;
dim3 block_index, block_size, grid_size;

namespace {

constexpr size_t kStackBytes = 128 * 1024;
constexpr int kMaxThreads = 1024;
constexpr int kMaxWave = 64;

enum class State { kReady, kAtBlockBarrier, kInWave, kDone };

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  int group;
};

struct Fiber : Thread {
  State state = State::kDone;
  bool started = false;
  int exchanges = 0;               // of this block so far; the wave's buffers alternate
  const void* exchange = nullptr;  // where in the kernel it waits
  std::vector<Copy> copies;        // that have not arrived
  int copy_groups = 0;             // committed
  ucontext_t context;
  jmp_buf resume;
};

struct Wave {
  uint64_t values[2][kMaxWave];
};

int wave_size = 32;
Order order = Order::kForward;
std::mt19937 random_order;

std::unique_ptr<Fiber[]> fibers;
char* stacks = nullptr;
Wave waves[kMaxThreads / 32];
ucontext_t scheduler_context;
jmp_buf scheduler_resume;
const std::function<void()>* body = nullptr;
std::exception_ptr failure;
std::vector<uint64_t> dynamic_shared;

struct Launched {
  dim3 grid, block;
  size_t shared_bytes;
  std::function<void()> kernel;
};

bool capturing = false;
std::vector<Launched> graph;

Fiber& Self() { return *static_cast<Fiber*>(current); }

void SwitchToScheduler() {
  if (_setjmp(Self().resume) == 0) _longjmp(scheduler_resume, 1);
}

// A fiber lives on from block to block.
void FiberMain() {
  for (;;) {
    try {
      (*body)();
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
    Self().state = State::kDone;
    SwitchToScheduler();
  }
}

void Resume(Fiber& fiber) {
  current = &fiber;
  if (_setjmp(scheduler_resume) != 0) return;
  if (fiber.started) _longjmp(fiber.resume, 1);
  fiber.started = true;
  const size_t index = static_cast<size_t>(&fiber - fibers.get());
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stacks + index * kStackBytes;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = &scheduler_context;
  makecontext(&fiber.context, FiberMain, 0);
  setcontext(&fiber.context);
}

void Wait(State state) {
  Self().state = state;
  SwitchToScheduler();
}

void PrepareMemory() {
  if (fibers) return;
  fibers = std::make_unique<Fiber[]>(kMaxThreads);
  void* memory = mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("emulator: no memory for the fibers' stacks");
  stacks = static_cast<char*>(memory);
}

struct Counts {
  int ready = 0, at_barrier = 0, in_wave = 0, done = 0;
};

Counts Count(int begin, int end) {
  Counts counts;
  for (int i = begin; i < end; ++i) {
    switch (fibers[i].state) {
      case State::kReady:
        ++counts.ready;
        break;
      case State::kAtBlockBarrier:
        ++counts.at_barrier;
        break;
      case State::kInWave:
        ++counts.in_wave;
        break;
      case State::kDone:
        ++counts.done;
        break;
    }
  }
  return counts;
}

// Lets threads go on whose wave or block has gathered; false where all have ended.
bool Release(int threads) {
  bool released = false;
  for (int begin = 0; begin < threads; begin += wave_size) {
    const int end = std::min(threads, begin + wave_size);
    const Counts counts = Count(begin, end);
    if (counts.in_wave == 0) continue;
    if (counts.in_wave != end - begin) {
      throw std::runtime_error("emulator: only " + std::to_string(counts.in_wave) + " of " +
                               std::to_string(end - begin) + " lanes of a wave reach a shuffle");
    }
    for (int i = begin; i < end; ++i) {
      if (fibers[i].exchange != fibers[begin].exchange) {
        throw std::runtime_error("emulator: lanes of a wave wait at different shuffles");
      }
      fibers[i].state = State::kReady;
    }
    released = true;
  }
  if (released) return true;
  const Counts counts = Count(0, threads);
  if (counts.done == threads) return false;
  if (counts.done != 0) {
    throw std::runtime_error("emulator: " + std::to_string(counts.done) + " threads ended, " +
                             std::to_string(counts.at_barrier) + " wait at __syncthreads()");
  }
  for (int i = 0; i < threads; ++i) fibers[i].state = State::kReady;
  return true;
}

void RunBlock(int threads, std::vector<int>& sequence) {
  for (int i = 0; i < threads; ++i) {
    fibers[i].state = State::kReady;
    fibers[i].exchanges = 0;
    fibers[i].copies.clear();
    fibers[i].copy_groups = 0;
  }
  do {
    if (order == Order::kShuffled) std::shuffle(sequence.begin(), sequence.end(), random_order);
    for (int i : sequence) {
      if (fibers[i].state == State::kReady) Resume(fibers[i]);
    }
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
  } while (Release(threads));
}

}  // namespace

int WaveSize() { return wave_size; }
unsigned char* DynamicShared() { return reinterpret_cast<unsigned char*>(dynamic_shared.data()); }
void BlockBarrier() { Wait(State::kAtBlockBarrier); }

const uint64_t* ExchangeInWave(uint64_t value) {
  Wave& wave = waves[(&Self() - fibers.get()) / wave_size];
  uint64_t* values = wave.values[Self().exchanges++ % 2];
  values[current->lane] = value;
  Self().exchange = __builtin_return_address(0);
  Wait(State::kInWave);
  return values;
}

void CheckLane(int lane) {
  if (lane >= 0 && lane < wave_size) return;
  throw std::runtime_error("emulator: a shuffle reads lane " + std::to_string(lane) + " of " +
                           std::to_string(wave_size));
}

void CheckAligned(const void* pointer, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(pointer) % bytes == 0) return;
  throw std::runtime_error("emulator: a vector access of " + std::to_string(bytes) +
                           " bytes is misaligned");
}

uint64_t Ballot(bool predicate) {
  const uint64_t* all = ExchangeInWave(predicate ? 1 : 0);
  uint64_t mask = 0;
  for (int i = 0; i < wave_size; ++i) mask |= all[i] << i;
  return mask;
}

void CopyLater(void* to, const void* from, size_t bytes) {
  CheckAligned(to, bytes);
  CheckAligned(from, bytes);
  Self().copies.push_back({to, from, bytes, Self().copy_groups});
}

void CommitCopies() { ++Self().copy_groups; }

void WaitForCopies(int newer_groups) {
  const int newer = Self().copy_groups - newer_groups;
  std::vector<Copy> waiting;
  for (const Copy& copy : Self().copies) {
    if (copy.group >= newer) {
      waiting.push_back(copy);
    } else {
      std::memcpy(copy.to, copy.from, copy.bytes);
    }
  }
  Self().copies = std::move(waiting);
}

bool IsCapturing() { return capturing; }

void Run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel) {
  if (capturing) return graph.push_back({grid, block, shared_bytes, kernel});
  const int threads = static_cast<int>(block.x * block.y * block.z);
  if (threads > kMaxThreads || threads % 64 != 0) {
    throw std::runtime_error("emulator: " + std::to_string(threads) +
                             " threads in a block, expected 64, 128 ... 1024");
  }
  if (shared_bytes > 160 * 1024)
    throw std::runtime_error("emulator: more than 160 KB of shared memory");
  PrepareMemory();
  grid_size = grid;
  block_size = block;
  body = &kernel;
  std::vector<int> sequence(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) {
    sequence[static_cast<size_t>(i)] = order == Order::kReverse ? threads - 1 - i : i;
    fibers[i].index =
        dim3(static_cast<unsigned>(i) % block.x, static_cast<unsigned>(i) / block.x % block.y,
             static_cast<unsigned>(i) / (block.x * block.y));
    fibers[i].lane = i % wave_size;
  }
  for (block_index.z = 0; block_index.z < grid.z; ++block_index.z) {
    for (block_index.y = 0; block_index.y < grid.y; ++block_index.y) {
      for (block_index.x = 0; block_index.x < grid.x; ++block_index.x) {
        // Shared memory starts with whatever was there: NaN shows a read of what nothing wrote.
        dynamic_shared.assign(shared_bytes / 8 + 1, ~uint64_t{0});
        try {
          RunBlock(threads, sequence);
        } catch (...) {
          // Fibers that stopped midway must not go on from there in the next launch.
          for (int i = 0; i < threads; ++i) fibers[i].started = false;
          throw;
        }
      }
    }
  }
}

}  // namespace emulator

// Called by the tests: 32 or 64 lanes, and an emulator::Order.
extern "C" __attribute__((visibility("default"))) void emulator_configure(int wave_size,
                                                                          int order) {
  emulator::wave_size = wave_size;
  emulator::order = static_cast<emulator::Order>(order);
  emulator::random_order.seed(1);
}

// From `capturing` on, launches are a new graph's.
extern "C" __attribute__((visibility("default"))) void emulator_capture(bool capturing) {
  emulator::capturing = capturing;
  if (capturing) emulator::graph.clear();
}

extern "C" __attribute__((visibility("default"))) void emulator_replay() {
  for (const emulator::Launched& launched : emulator::graph) {
    emulator::Run(launched.grid, launched.block, launched.shared_bytes, launched.kernel);
  }
}
