// Sums over the GPUs of one machine that map each other's memory, without a library in between.
//
// Ranks write flags into each other's Signal and read each other's buffers. Sums are in f32, in the
// order of the ranks, and each element's is rounded once by one rank or by all alike: every rank
// gets the same bits.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

constexpr int kMaxRanks = 8;
constexpr int kMaxReduceBlocks = 36;

// Flags of one rank: a block's rounds, as each peer's block of the same number has announced them.
// Zeroed before the first sum. Memory for what the rank sums up for the others follows it.
struct alignas(128) Signal {
  uint32_t started[kMaxReduceBlocks][kMaxRanks];
  alignas(128) uint32_t written[kMaxReduceBlocks][kMaxRanks];
  alignas(128) uint32_t finished[kMaxReduceBlocks][kMaxRanks];
  alignas(128) uint32_t round[kMaxReduceBlocks];  // of the rank itself
};

// One rank's memory as this rank maps it.
struct PeerSignals {
  Signal* of[kMaxRanks];
};
struct PeerBuffers {
  const void* of[kMaxRanks];
};

struct AllReduce {
  const char* op;
  const void* source;  // of this rank, copied first to `buffer`; null: it is there
  void* buffer;
  const PeerBuffers* buffers;  // on the device, so that captured launches can learn them later
  PeerSignals signals;
  void* out;
  int64_t count;  // elements, of a multiple of 16 bytes
  int rank;
  int ranks;
  // Each rank sums up a part for all and hands it out, instead of everything for itself.
  bool in_parts;
  Type type;
  Stream stream;
};
void SumOverRanks(const AllReduce& args);

}  // namespace vllm::device
