// Kernels with one fault each, which the emulator must find, and one without.
#include <stdexcept>
#include <string>

#include "device/async_copy.h"
#include "device/numeric.h"
#include "device/reduce.h"

namespace {

using namespace vllm::device;

enum class Fault : int {
  kNone,
  kNoBarrier,
  kPartialBarrier,
  kExitedLane,
  kTwoShuffles,
  kMisaligned,
  kNoWait
};

alignas(16) const float kZeros[4] = {};

// out[i] = 127 - i, which another thread wrote to shared memory, + 0, which another one copied
// there.
void Kernel(Fault fault, float* out) {
  alignas(16) __shared__ float values[128], copied[128];
  const int i = threadIdx.x;
  values[i] = copied[i] = -1.0f;
  __syncthreads();
  values[i] = static_cast<float>(i);
  if (i < 32) CopyToShared(copied + 4 * i, kZeros);
  CommitCopies();
  if (fault != Fault::kNoWait) WaitForCopies<0>();
  if (fault == Fault::kExitedLane && i == 5) return;
  if (fault != Fault::kNoBarrier && (fault != Fault::kPartialBarrier || i < 64)) __syncthreads();
  out[i] = values[127 - i] + copied[127 - i];
  if (fault == Fault::kTwoShuffles && i % 2 == 0) {
    out[i] += static_cast<float>(Ballot(true) & 1);
  } else {
    out[i] += 0.0f * ShuffleXor(1.0f, 2);
  }
  if (fault == Fault::kMisaligned) out[i] = LoadVector<4>(out + 1).lanes[0];
}

std::string message;

}  // namespace

// Runs the kernel over 128 threads; what the emulator found, or "".
extern "C" __attribute__((visibility("default"))) const char* selftest(int fault, float* out) {
  message.clear();
  try {
    Launch({"selftest", 1, 1, 1, 128}, nullptr, Kernel, static_cast<Fault>(fault), out);
  } catch (const std::exception& error) {
    message = error.what();
  }
  return message.c_str();
}
