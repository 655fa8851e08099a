// CUDA's execution model on one CPU thread, for tests: the blocks of a grid run one after another,
// the threads of a block are fibers that switch at __syncthreads() and at shuffles. What would be
// undefined or would hang on a device (a barrier that only some threads reach, a shuffle with an
// exited lane, a misaligned vector access) throws. Fibers can be run in different orders, so that a
// missing barrier shows as a wrong result.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3() = default;
  explicit dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};

namespace emulator {

enum class Order : int { kForward, kReverse, kShuffled };

struct Thread {
  dim3 index;
  int lane;
};

extern Thread* current;
extern dim3 block_index, block_size, grid_size;

int WaveSize();
void Run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel);
// Whether Run keeps launches for emulator_replay. Copies are made at once all the same.
bool IsCapturing();
unsigned char* DynamicShared();
void BlockBarrier();
// Publishes 8 bytes for the wave, waits for all of its lanes and returns their values by lane.
const uint64_t* ExchangeInWave(uint64_t value);
void CheckLane(int lane);
void CheckAligned(const void* pointer, size_t bytes);

template <typename T>
T Shuffle(T value, int lane) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  const uint64_t* all = ExchangeInWave(bits);
  CheckLane(lane);
  std::memcpy(&value, &all[lane], sizeof(T));
  return value;
}

template <typename T>
T ShuffleXor(T value, int lane_mask) {
  return Shuffle(value, current->lane ^ lane_mask);
}

uint64_t Ballot(bool predicate);

// Copies that arrive as late as they may: when their thread waits for the group that they are in.
void CopyLater(void* to, const void* from, size_t bytes);
void CommitCopies();
void WaitForCopies(int newer_groups);

}  // namespace emulator

#define threadIdx (emulator::current->index)
#define blockIdx emulator::block_index
#define blockDim emulator::block_size
#define gridDim emulator::grid_size

inline void __syncthreads() { emulator::BlockBarrier(); }

template <typename T>
T atomicAdd(T* address, T value) {
  const T old = *address;
  *address = static_cast<T>(old + value);
  return old;
}
template <typename T>
T atomicMax(T* address, T value) {
  const T old = *address;
  *address = std::max(old, value);
  return old;
}

using std::isinf;
inline float __expf(float x) { return std::exp(x); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
