#include "cpu/amx_trial.h"

#include <string_view>

#include "core/amx.h"
#include "core/isa_name.h"

#if defined(VLLM_CPU_AMXBF16)

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "cpu/amx_tile.h"

namespace vllm {
namespace {

constexpr int64_t kColumns = 32;          // of a panel
constexpr int64_t kK = 3 * kAmxStep + 5;  // ends inside a step, and inside a pair
constexpr int64_t kPairs = (kK + 1) / 2;

// Small whole numbers: every order of adding their products gives the same sum.
float Input(int64_t row, int64_t k) { return static_cast<float>((row * 5 + k * 3) % 15 - 7); }
float Weight(int64_t column, int64_t k) {
  return static_cast<float>((column * 7 + k * 2) % 13 - 6);
}

// Of a value that bf16 holds.
uint16_t Bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>(bits >> 16);
}

bool SumsAreRight(int64_t rows) {
  alignas(64) uint16_t input[kAmxRows * kK], packed[kAmxRows * (4 * kAmxStep)];
  alignas(64) uint16_t panel[kPairs * kColumns * 2] = {};
  alignas(64) float sums[kAmxRows * kColumns];
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t k = 0; k < kK; ++k) input[row * kK + k] = Bf16(Input(row, k));
  }
  for (int64_t column = 0; column < kColumns; ++column) {
    for (int64_t k = 0; k < kK; ++k) {
      panel[(k / 2 * kColumns + column) * 2 + k % 2] = Bf16(Weight(column, k));
    }
  }
  AmxPackRows(input, kK, rows, kK, packed);
  AmxPanelTile(packed, rows, panel, kK, sums, reinterpret_cast<const char*>(panel));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < kColumns; ++column) {
      float sum = 0;
      for (int64_t k = 0; k < kK; ++k) sum += Input(row, k) * Weight(column, k);
      if (sums[row * kColumns + column] != sum) return false;
    }
  }
  return true;
}

// One register of rows, both, and both at their ends.
bool TrialIsRight() {
  for (const int64_t rows : {1, 16, 17, 32}) {
    if (!SumsAreRight(rows)) return false;
  }
  return true;
}

// In a process of its own: where a CPU, or what emulates it, has AMX in name alone, the trial ends
// in a signal. The answer comes through a pipe, since a program that ignores SIGCHLD never learns
// an exit status.
bool TrialPasses() {
  int ends[2];
  if (pipe(ends) != 0) return false;
  const pid_t child = fork();
  if (child == 0) {
    for (const int fault : {SIGILL, SIGSEGV, SIGBUS, SIGABRT}) signal(fault, SIG_DFL);
    const char passed = 1;
    _exit(TrialIsRight() && write(ends[1], &passed, 1) == 1 ? 0 : 1);
  }
  close(ends[1]);
  char passed = 0;
  ssize_t count = -1;
  if (child > 0) {
    do count = read(ends[0], &passed, 1);
    while (count < 0 && errno == EINTR);
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  close(ends[0]);
  return count == 1 && passed == 1;
}

}  // namespace
}  // namespace vllm

#else

namespace vllm {
namespace {

bool TrialPasses() { return false; }

}  // namespace
}  // namespace vllm

#endif

namespace vllm {

bool UseAmx() {
  static const bool use = [] {
    CpuIsaName();  // refuses a name that this CPU does not offer
    const std::string_view wanted = WantedCpuIsa();
    return wanted == kAmxIsa || (wanted.empty() && AmxAvailable() && TrialPasses());
  }();
  return use;
}

}  // namespace vllm
