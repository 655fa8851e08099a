#include "cpu/amx_tile.h"

#include <algorithm>
#include <stdexcept>

#if defined(VLLM_CPU_AMXBF16)

#if defined(VLLM_CPU_AMX_EMULATED)
#include "amx_emulated.h"
#else
#include <immintrin.h>
#define VLLM_AMX __attribute__((target("amx-tile,amx-bf16")))
#endif

namespace vllm {
namespace {

constexpr int64_t kRegisterRows = 16;

// Operand of LDTILECFG: the shape of each register, for palette 1.
struct alignas(64) Config {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void Shape(int tile, int64_t tile_rows) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = 64;
  }
};
static_assert(sizeof(Config) == 64);

constexpr int64_t kLineBytes = 64;  // of a register's row, and of the cache
constexpr int64_t kPanelPair = 64;  // elements of a panel for one pair of k
constexpr int64_t kStepElements = kAmxStep / 2 * kPanelPair;

// Compilers' intrinsics do not all say that they read memory: what was written for them must be
// there before they run.
inline void Publish(const void* memory) { asm volatile("" : : "r"(memory) : "memory"); }

// Registers 0 and 1 sum the first rows' left and right columns, 2 and 3 the second rows'; 4 and 5
// hold the two sixteens of rows, 6 and 7 the panel's two sixteens of columns.
template <bool kSecond>
VLLM_AMX void MultiplyStep(const uint16_t* first, const uint16_t* second, const uint16_t* panel) {
  _tile_loadd(6, panel, kPanelPair * 2);
  _tile_loadd(7, panel + kPanelPair / 2, kPanelPair * 2);
  _tile_loadd(4, first, kLineBytes);
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  if constexpr (kSecond) {
    _tile_loadd(5, second, kLineBytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

template <bool kSecond>
VLLM_AMX void Multiply(const uint16_t* packed, int64_t rows, const uint16_t* panel, int64_t k,
                       float* c, const char* prefetch) {
  const int64_t first_rows = kSecond ? kRegisterRows : rows, second_rows = rows - first_rows;
  Config config;
  for (const int tile : {0, 1, 4}) config.Shape(tile, first_rows);
  if constexpr (kSecond) {
    for (const int tile : {2, 3, 5}) config.Shape(tile, second_rows);
  }
  for (const int tile : {6, 7}) config.Shape(tile, kRegisterRows);
  Publish(&config);
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (kSecond) {
    _tile_zero(2);
    _tile_zero(3);
  }
  const uint16_t* second = packed + kRegisterRows * AmxPaddedK(k);
  const int64_t steps = k / kAmxStep;
  for (int64_t step = 0; step < steps; ++step) {
    for (int64_t at = 0; at < kStepElements * 2; at += kLineBytes) {
      __builtin_prefetch(prefetch + at, 0, 2);
    }
    prefetch += kStepElements * 2;
    MultiplyStep<kSecond>(packed + step * first_rows * kAmxStep,
                          second + step * second_rows * kAmxStep, panel + step * kStepElements);
  }
  if (k % kAmxStep != 0) {
    // The panel ends inside the last step, and what lies behind it need not be finite.
    alignas(64) uint16_t rest[kStepElements] = {};
    const uint16_t* from = panel + steps * kStepElements;
    std::copy_n(from, (k % kAmxStep + 1) / 2 * kPanelPair, rest);
    Publish(rest);
    MultiplyStep<kSecond>(packed + steps * first_rows * kAmxStep,
                          second + steps * second_rows * kAmxStep, rest);
  }
  constexpr int64_t kRowBytes = 2 * kLineBytes, kRowFloats = kRowBytes / 4;
  _tile_stored(0, c, kRowBytes);
  _tile_stored(1, c + kRowFloats / 2, kRowBytes);
  if constexpr (kSecond) {
    _tile_stored(2, c + kRegisterRows * kRowFloats, kRowBytes);
    _tile_stored(3, c + kRegisterRows * kRowFloats + kRowFloats / 2, kRowBytes);
  }
  // The operating system saves registers in use at every switch of threads.
  _tile_release();
}

}  // namespace

void AmxPanelTile(const uint16_t* packed, int64_t rows, const uint16_t* panel, int64_t k, float* c,
                  const char* prefetch) {
  const auto multiply = rows > kRegisterRows ? Multiply<true> : Multiply<false>;
  multiply(packed, rows, panel, k, c, prefetch);
}

void AmxPackRows(const uint16_t* input, int64_t stride, int64_t rows, int64_t k, uint16_t* packed) {
  for (int64_t begin = 0; begin < rows; begin += kRegisterRows) {
    const int64_t height = std::min(kRegisterRows, rows - begin);
    for (int64_t step = 0; step < k; step += kAmxStep) {
      const int64_t size = std::min(kAmxStep, k - step);
      for (int64_t row = begin; row < begin + height; ++row, packed += kAmxStep) {
        std::copy_n(input + row * stride + step, size, packed);
        std::fill(packed + size, packed + kAmxStep, uint16_t{0});
      }
    }
  }
}

}  // namespace vllm

#else

namespace vllm {

void AmxPackRows(const uint16_t*, int64_t, int64_t, int64_t, uint16_t*) {
  throw std::logic_error("this build has no kernels for AMX");
}

void AmxPanelTile(const uint16_t*, int64_t, const uint16_t*, int64_t, float*, const char*) {
  throw std::logic_error("this build has no kernels for AMX");
}

}  // namespace vllm

#endif
