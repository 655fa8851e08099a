#include "device/top_k.h"

#include "device/dispatch.h"
#include "device/radix.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 512;

struct Range {
  int64_t begin;
  int64_t count;
};

VLLM_DEVICE Range Columns(const TopK& a, int64_t row) {
  int64_t begin = 0, end;
  if (a.starts) {
    begin = a.starts[row];
    end = a.ends[row];
  } else {
    end = a.ends[row / a.rows_a_seq] - a.rows_a_seq + row % a.rows_a_seq + 1;
  }
  begin = begin < 0 ? 0 : begin;
  end = end > a.columns ? a.columns : end;
  return {begin, end > begin ? end - begin : 0};
}

// Position of this thread among those of the block with `chosen`, counted from `base`, which
// becomes the position after the last. counts: kMaxWaves ints.
VLLM_DEVICE int Position(bool chosen, int& base, int* counts) {
  const uint64_t mask = Ballot(chosen);
  if (LaneId() == 0) counts[WaveId()] = __popcll(mask);
  __syncthreads();
  int before = base, total = base;
  for (int w = 0; w < NumWaves(); ++w) {
    if (w == WaveId()) before = total;
    total += counts[w];
  }
  __syncthreads();
  base = total;
  return before + __popcll(mask & ((uint64_t{1} << LaneId()) - 1));
}

// A block a row.
__global__ void __launch_bounds__(kThreads) TopKKernel(TopK a) {
  __shared__ RadixScratch scratch;
  __shared__ int counts[2][kMaxWaves];
  const int64_t row = blockIdx.x;
  const Range range = Columns(a, row);
  int32_t* out = a.indices + row * a.k;
  if (range.count <= a.k) {
    for (int i = threadIdx.x; i < a.k; i += blockDim.x) out[i] = i < range.count ? i : -1;
    return;
  }
  const float* logits = a.logits + row * a.row_stride + range.begin * a.column_stride;
  const auto value = [&](int64_t i) { return logits[i * a.column_stride]; };
  int ties;
  const uint32_t kth = KthLargest(range.count, a.k, scratch, ties, value);
  int larger = 0, equal = 0;  // found before this chunk
  const int first_tie = a.k - ties;
  for (int64_t first = 0; first < range.count; first += blockDim.x) {
    const int64_t i = first + threadIdx.x;
    const uint32_t bits = i < range.count ? OrderedBits(value(i)) : 0;
    const bool is_larger = i < range.count && bits > kth, is_equal = i < range.count && bits == kth;
    const int at = Position(is_larger, larger, counts[0]);
    const int tie = Position(is_equal, equal, counts[1]);
    if (is_larger) out[at] = static_cast<int32_t>(i);
    if (is_equal && tie < ties) out[first_tie + tie] = static_cast<int32_t>(i);
  }
}

}  // namespace

void SelectTopK(const TopK& a) { Launch({a.op, a.rows, 1, 1, kThreads}, a.stream, TopKKernel, a); }

}  // namespace vllm::device
