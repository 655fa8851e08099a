// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random bits
// as a function of a counter and a key.
#pragma once

#include "device/compat.h"

namespace vllm::device {

#if VLLM_KERNELS

// 64 random bits of stream `stream` at `offset`.
VLLM_DEVICE uint64_t Philox(uint64_t seed, uint64_t stream, uint64_t offset) {
  uint32_t c[4] = {static_cast<uint32_t>(offset), static_cast<uint32_t>(offset >> 32),
                   static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  auto k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  VLLM_UNROLL()
  for (int round = 0; round < 10; ++round) {
    const uint64_t p = uint64_t{0xD2511F53u} * c[0], q = uint64_t{0xCD9E8D57u} * c[2];
    c[0] = static_cast<uint32_t>(q >> 32) ^ c[1] ^ k0;
    c[2] = static_cast<uint32_t>(p >> 32) ^ c[3] ^ k1;
    c[1] = static_cast<uint32_t>(q);
    c[3] = static_cast<uint32_t>(p);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return uint64_t{c[1]} << 32 | c[0];
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
