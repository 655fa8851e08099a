#include <cstring>

#include "core/parallel.h"
#include "cpu/linear.h"

namespace vllm {
namespace {

// Row of the weight that is column `column` of panel `panel`; -1 for padding.
int64_t WeightRow(int64_t panel, int64_t column, int64_t n, PackOrder order) {
  if (order == PackOrder::kPlain) {
    const int64_t row = panel * kPanelWidth + column;
    return row < n ? row : -1;
  }
  constexpr int64_t kHalf = kPanelWidth / 2;
  const int64_t row = panel * kHalf + column % kHalf;
  if (row >= n / 2) return -1;
  return column < kHalf ? row : n / 2 + row;
}

// T is an unsigned integer as wide as the element; kPair elements of consecutive k lie together.
template <typename T, int kPair>
void PackPanel(const T* weight, int64_t row_stride, int64_t n, int64_t k, PackOrder order,
               int64_t panel, T* packed) {
  for (int64_t column = 0; column < kPanelWidth; ++column) {
    const int64_t row = WeightRow(panel, column, n, order);
    T* to = packed + column * kPair;
    for (int64_t i = 0; i < k; i += kPair) {
      for (int64_t j = 0; j < kPair; ++j) {
        to[j] = row < 0 || i + j >= k ? T{0} : weight[row * row_stride + i + j];
      }
      to += kPanelWidth * kPair;
    }
  }
}

template <typename T, int kPair>
void PackPanels(const void* weight, int64_t row_stride, int64_t n, int64_t k, PackOrder order,
                int64_t panel_elements, void* packed) {
  ParallelFor(PanelCount(n, order), panel_elements, [=](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      PackPanel<T, kPair>(static_cast<const T*>(weight), row_stride, n, k, order, panel,
                          static_cast<T*>(packed) + panel * panel_elements);
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

void PackLinearWeight(const void* weight, int64_t row_stride, int64_t n, int64_t k, DType dtype,
                      PackOrder order, void* packed) {
  const int64_t elements = PanelElements(k, dtype);
  switch (dtype) {
    case DType::kFloat32:
      return PackPanels<uint32_t, 1>(weight, row_stride, n, k, order, elements, packed);
    case DType::kFloat16:
      return PackPanels<uint16_t, 1>(weight, row_stride, n, k, order, elements, packed);
    case DType::kBFloat16:
      return PackPanels<uint16_t, 2>(weight, row_stride, n, k, order, elements, packed);
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
