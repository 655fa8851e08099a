// Reading codes, zeros and scales of a quantised matrix one by one.
#pragma once

#include "device/dispatch.h"
#include "device/wna16.h"

namespace vllm::device {

#if VLLM_KERNELS

// Place of element i among `count` that lie the even ones first.
VLLM_DEVICE int Interleaved(int i, int count) { return i / 2 + (i % 2) * (count / 2); }

VLLM_DEVICE int PlaceOf(int column, ColumnOrder order) {
  if (order == ColumnOrder::kMarlinGroups) {
    const int c = column % 64;  // 8 rows of 8, transposed
    return column - c + c % 8 * 8 + c / 8;
  }
  if (order == ColumnOrder::kMarlinChannels) {
    const int c = column % 32;  // 4 rows of 4 pairs, transposed
    return column - c + c % 8 / 2 * 8 + c / 8 * 2 + c % 2;
  }
  return column;
}

// Code i of a stream of bits whose words are `stride` apart.
VLLM_DEVICE uint32_t StreamCode(const uint32_t* words, int64_t stride, int i, int bits) {
  const int first = i * bits, word = first / 32, shift = first % 32;
  uint32_t code = words[word * stride] >> shift;
  if (shift + bits > 32) code |= words[(word + 1) * stride] << (32 - shift);
  return code & ((1u << bits) - 1);
}

VLLM_DEVICE uint32_t CodeAt(const QuantizedMatrix& w, int k, int n) {
  const int bits = BitsOf(w.code_type), codes = 32 / bits;
  if (w.layout == CodeLayout::kInterleavedRows) {
    const uint32_t* row = w.codes + int64_t{k} * (w.n / codes);
    return StreamCode(row + n / codes, 1, Interleaved(n % codes, codes), bits);
  }
  return StreamCode(w.codes + n, w.n, k, bits);
}

VLLM_DEVICE float CodeValue(CodeType type, uint32_t code) {
  return type == CodeType::kE4M3 ? ToFloat(Fp8E4M3{static_cast<uint8_t>(code)})
                                 : static_cast<float>(code);
}

template <typename T>
VLLM_DEVICE float ScaleAt(Tag<T>, const QuantizedMatrix& w, int group, int n) {
  const T* scales = static_cast<const T*>(w.scales) + int64_t{group} * w.n;
  return ToFloat(scales[PlaceOf(n, w.scale_order)]) * w.scale_factor;
}

VLLM_DEVICE float ZeroAt(const QuantizedMatrix& w, int group, int n) {
  if (w.zero_layout == ZeroLayout::kNone) return w.zero;
  const int bits = BitsOf(w.code_type), codes = 32 / bits;
  const uint32_t* zeros = w.zeros + int64_t{group} * (w.n * bits / 32);
  int place = PlaceOf(n, w.zero_order);
  if (w.zero_layout == ZeroLayout::kInterleaved) {
    place += Interleaved(place % codes, codes) - place % codes;
  }
  return static_cast<float>(StreamCode(zeros, 1, place, bits)) + w.zero;
}

VLLM_DEVICE int GroupOf(const QuantizedMatrix& w, int k) {
  if (!w.group_of) return k / w.group_size;
  const int group = w.group_of[k];
  return group < 0 || group >= w.groups ? 0 : group;
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
