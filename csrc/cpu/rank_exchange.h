// Sums and gathers over the ranks of a model: processes of one machine that share memory.
//
// The memory begins with a cache line a rank, which counts the exchanges that the rank has put its
// data in for. Two sets of slots follow, a slot a rank in each, which exchanges use in turn: who
// writes a set again has seen all ranks in the exchange between, so that they have read it.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace vllm {

struct RankMemory {
  char* data;  // [bytes], begins with a cache line
  int64_t bytes;
  int rank;
  int ranks;
  int locks;  // a file in which each rank that lives has locked the byte of its number; -1: none

  // Bytes of a slot, whole cache lines; what is larger goes piece by piece.
  int64_t SlotBytes() const;
};

// x [size] = its sum over the ranks: in f32, in the order of ranks, rounded once; the same bits on
// every rank. Both wait for all ranks, and throw std::runtime_error where one of them has ended.
void SumOverRanks(const RankMemory& memory, void* x, int64_t size, DType dtype);

// out [ranks, bytes] on rank 0 = everyone's x [bytes]; null on the others.
void GatherOnFirstRank(const RankMemory& memory, const void* x, int64_t bytes, void* out);

}  // namespace vllm
