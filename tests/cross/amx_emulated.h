// The intrinsics of AMX that csrc/cpu/amx_tile.cpp calls, in plain C++, so that tests run the code
// around them on any CPU. VLLM_AMX_FAULT makes a CPU that has AMX in name alone: "sums" adds
// wrongly, "signal" ends the process. Intel's manual (volume 2, "Intel AMX") gives what each does.
#pragma once

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define VLLM_AMX

namespace vllm::emulated {

// Operand of LDTILECFG for palette 1.
struct Config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(Config) == 64);

struct Registers {
  Config config;
  uint32_t units[8][16][16];
};
inline thread_local Registers registers;

inline bool Fails(const char* how) {
  const char* fault = std::getenv("VLLM_AMX_FAULT");
  return fault != nullptr && std::strcmp(fault, how) == 0;
}

// The CPU raises an exception, which no test could overlook either.
inline void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "AMX: %s\n", what);
  std::abort();
}

inline float Bf16(uint32_t unit, int half) {
  const uint32_t bits = half == 0 ? unit << 16 : unit & 0xFFFF0000u;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace vllm::emulated

inline void _tile_loadconfig(const void* config) {
  auto& registers = vllm::emulated::registers;
  if (vllm::emulated::Fails("signal")) std::raise(SIGILL);
  registers = {};
  std::memcpy(&registers.config, config, sizeof(registers.config));
  vllm::emulated::Require(registers.config.palette == 1, "the palette is 1");
  for (int tile = 0; tile < 8; ++tile) {
    vllm::emulated::Require(registers.config.rows[tile] <= 16, "a register has at most 16 rows");
    vllm::emulated::Require(registers.config.row_bytes[tile] <= 64, "a row has at most 64 bytes");
  }
}

inline void _tile_release() { vllm::emulated::registers = {}; }

inline void _tile_zero(int tile) {
  auto& registers = vllm::emulated::registers;
  vllm::emulated::Require(registers.config.rows[tile] > 0, "a register in use has a shape");
  std::memset(registers.units[tile], 0, sizeof(registers.units[tile]));
}

inline void _tile_loadd(int tile, const void* base, int64_t stride) {
  auto& registers = vllm::emulated::registers;
  _tile_zero(tile);
  for (int row = 0; row < registers.config.rows[tile]; ++row) {
    std::memcpy(registers.units[tile][row], static_cast<const char*>(base) + row * stride,
                registers.config.row_bytes[tile]);
  }
}

inline void _tile_stored(int tile, void* base, int64_t stride) {
  auto& registers = vllm::emulated::registers;
  vllm::emulated::Require(registers.config.rows[tile] > 0, "a register in use has a shape");
  for (int row = 0; row < registers.config.rows[tile]; ++row) {
    std::memcpy(static_cast<char*>(base) + row * stride, registers.units[tile][row],
                registers.config.row_bytes[tile]);
  }
}

// TDPBF16PS: even and odd k are summed apart, then added to what was there.
inline void _tile_dpbf16ps(int sum, int a, int b) {
  if (vllm::emulated::Fails("sums")) return;
  auto& [config, units] = vllm::emulated::registers;
  vllm::emulated::Require(config.rows[sum] == config.rows[a] &&
                              config.row_bytes[a] == 4 * config.rows[b] &&
                              config.row_bytes[sum] == config.row_bytes[b],
                          "shapes of a product fit");
  for (int m = 0; m < config.rows[sum]; ++m) {
    for (int n = 0; n < config.row_bytes[sum] / 4; ++n) {
      float parts[2] = {};
      for (int k = 0; k < config.rows[b]; ++k) {
        for (int half = 0; half < 2; ++half) {
          parts[half] += vllm::emulated::Bf16(units[a][m][k], half) *
                         vllm::emulated::Bf16(units[b][k][n], half);
        }
      }
      float total;
      std::memcpy(&total, &units[sum][m][n], sizeof(total));
      total += parts[0] + parts[1];
      std::memcpy(&units[sum][m][n], &total, sizeof(total));
    }
  }
}
