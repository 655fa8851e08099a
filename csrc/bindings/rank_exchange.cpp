#include "cpu/rank_exchange.h"

#include "bindings/recording.h"
#include "bindings/tensor.h"

namespace vllm {
namespace {

RankMemory Memory(const TensorView& memory, int64_t rank, int64_t ranks, int64_t locks) {
  CheckType(memory, ScalarType::Byte);
  CheckDim(memory, 1);
  CheckContiguous(memory);
  const auto address = reinterpret_cast<uintptr_t>(memory.data);
  if (ranks < 1 || rank < 0 || rank >= ranks || ranks > INT32_MAX || address % 64 != 0) {
    Fail(memory, "is of rank " + std::to_string(rank) + " of " + std::to_string(ranks) +
                     ", expected one of them, and memory that begins with a cache line");
  }
  const RankMemory shared{memory.Data<char>(), memory.Size(0), static_cast<int>(rank),
                          static_cast<int>(ranks), static_cast<int>(locks)};
  if (shared.SlotBytes() <= 0) {
    Fail(memory, "has " + std::to_string(shared.bytes) + " bytes, expected at least " +
                     std::to_string(ranks * 192));
  }
  return shared;
}

void sum_over_ranks(const Tensor& x, const Tensor& memory, int64_t rank, int64_t ranks,
                    int64_t locks) {
  const TensorView to = View("sum_over_ranks", "x", x);
  const DType dtype = FloatType(to);
  CheckContiguous(to);
  const TensorView shared = View("sum_over_ranks", "memory", memory);
  const RankMemory ours = Memory(shared, rank, ranks, locks);
  Launch(
      [ours, data = to.data, size = to.Numel(), dtype] { SumOverRanks(ours, data, size, dtype); });
}

void gather_on_first_rank(const Tensor& result, const Tensor& x, const Tensor& memory, int64_t rank,
                          int64_t ranks, int64_t locks) {
  const TensorView from = View("gather_on_first_rank", "x", x);
  const TensorView to = View("gather_on_first_rank", "result", result);
  const DType dtype = FloatType(from);
  CheckContiguous(from);
  CheckContiguous(to);
  CheckSameType(to, from);
  const int64_t wanted = rank == 0 ? ranks * from.Numel() : 0;
  if (to.Numel() != wanted) {
    Fail(to, "has " + std::to_string(to.Numel()) + " elements, expected " + std::to_string(wanted));
  }
  const TensorView shared = View("gather_on_first_rank", "memory", memory);
  const int64_t bytes = from.Numel() * static_cast<int64_t>(ElementSize(dtype));
  GatherOnFirstRank(Memory(shared, rank, ranks, locks), from.data, bytes,
                    rank == 0 ? to.data : nullptr);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def("sum_over_ranks(Tensor! x, Tensor! memory, int rank, int ranks, int locks) -> ()");
  m.def(
      "gather_on_first_rank(Tensor! result, Tensor x, Tensor! memory, int rank, int ranks, "
      "int locks) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("sum_over_ranks", TORCH_BOX(&sum_over_ranks));
  m.impl("gather_on_first_rank", TORCH_BOX(&gather_on_first_rank));
}

}  // namespace vllm
