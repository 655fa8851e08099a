#include "cpu/linear_weight.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/parallel.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace vllm {
namespace {

// T is an unsigned integer as wide as the element, Unit the kPair elements of consecutive k that
// lie together.
template <typename T, typename Unit>
void PackPanel(const T* weight, int64_t row_stride, int64_t n, int64_t k, PackOrder order,
               int64_t panel, Unit* packed) {
  constexpr int64_t kPair = sizeof(Unit) / sizeof(T);
  constexpr int64_t kBlock = 64 / sizeof(Unit);  // a cache line of each row is read at a time
  const int64_t units = k / kPair;
  for (int64_t begin = 0; begin < units; begin += kBlock) {
    const int64_t count = std::min(kBlock, units - begin);
    for (int64_t column = 0; column < kPanelWidth; ++column) {
      const int64_t row = WeightRow(panel, column, n, order);
      Unit* to = packed + begin * kPanelWidth + column;
      for (int64_t i = 0; i < count; ++i, to += kPanelWidth) {
        if (row < 0) {
          *to = 0;
        } else {
          std::memcpy(to, weight + row * row_stride + (begin + i) * kPair, sizeof(Unit));
        }
      }
    }
  }
  if (k % kPair == 0) return;
  for (int64_t column = 0; column < kPanelWidth; ++column) {
    const int64_t row = WeightRow(panel, column, n, order);
    const T halves[2] = {row < 0 ? T{0} : weight[row * row_stride + k - 1], T{0}};
    std::memcpy(packed + units * kPanelWidth + column, halves, sizeof(Unit));
  }
}

template <typename T, typename Unit>
void PackPanels(const void* weight, int64_t row_stride, int64_t n, int64_t k, PackOrder order,
                int64_t panel_elements, void* packed) {
  const int64_t panel_units =
      panel_elements * static_cast<int64_t>(sizeof(T)) / static_cast<int64_t>(sizeof(Unit));
  ParallelFor(PanelCount(n, order), panel_elements, [=](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      PackPanel<T, Unit>(static_cast<const T*>(weight), row_stride, n, k, order, panel,
                         static_cast<Unit*>(packed) + panel * panel_units);
    }
  });
}

template <typename T, int kPair>
void GatherRow(const T* packed, int64_t panel_elements, int64_t k, int64_t row, T* out) {
  const T* from = packed + row / kPanelWidth * panel_elements + row % kPanelWidth * kPair;
  for (int64_t i = 0; i < k; ++i) out[i] = from[i / kPair * kPanelWidth * kPair + i % kPair];
}

template <typename T, int kPair>
void GatherRows(const LinearWeight& weight, const int64_t* ids, int64_t count, void* out,
                int64_t out_stride) {
  const int64_t panel_elements = PanelElements(weight.k, weight.dtype);
  ParallelFor(count, weight.k * 4, [=, &weight](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      GatherRow<T, kPair>(static_cast<const T*>(weight.packed), panel_elements, weight.k, ids[i],
                          static_cast<T*>(out) + i * out_stride);
    }
  });
}

}  // namespace

void PreferHugePages([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#ifdef __linux__
  constexpr uintptr_t kHugePage = uintptr_t{2} << 20;
  const uintptr_t begin =
      (reinterpret_cast<uintptr_t>(memory) + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

void PackLinearWeight(const void* weight, int64_t row_stride, int64_t n, int64_t k, DType dtype,
                      PackOrder order, void* packed) {
  const int64_t elements = PanelElements(k, dtype);
  PreferHugePages(packed,
                  static_cast<size_t>(PanelCount(n, order) * elements) * ElementSize(dtype));
  switch (dtype) {
    case DType::kFloat32:
      return PackPanels<uint32_t, uint32_t>(weight, row_stride, n, k, order, elements, packed);
    case DType::kFloat16:
      return PackPanels<uint16_t, uint16_t>(weight, row_stride, n, k, order, elements, packed);
    case DType::kBFloat16:
      return PackPanels<uint16_t, uint32_t>(weight, row_stride, n, k, order, elements, packed);
  }
}

void GatherPackedRows(const LinearWeight& weight, const int64_t* ids, int64_t count, void* out,
                      int64_t out_stride) {
  switch (weight.dtype) {
    case DType::kFloat32:
      return GatherRows<uint32_t, 1>(weight, ids, count, out, out_stride);
    case DType::kFloat16:
      return GatherRows<uint16_t, 1>(weight, ids, count, out, out_stride);
    case DType::kBFloat16:
      return GatherRows<uint16_t, 2>(weight, ids, count, out, out_stride);
  }
}

}  // namespace vllm
