#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/parallel.h"
#include "cpu/linear_weight.h"
#include "cpu/quantized_linear.h"
#include "hwy/base.h"

namespace vllm {
namespace {

using hwy::float16_t;

// Power of two that brings the largest of a row's scales into [1, 2).
float RowScale(const float* scales, int64_t groups) {
  float largest = 0.0f;
  for (int64_t g = 0; g < groups; ++g) largest = std::max(largest, std::fabs(scales[g]));
  return largest > 0.0f && std::isfinite(largest) ? std::ldexp(1.0f, std::ilogb(largest)) : 1.0f;
}

// Scale and zero of group `g` for one column of a panel.
void PackGroupHead(const QuantizedWeight& weight, const QuantizedSource& source, int64_t row,
                   int64_t g, float row_scale, float16_t* head) {
  if (weight.scaled) {
    const float scale = row < 0 ? 0.0f : source.scales[row * weight.Groups() + g] / row_scale;
    *head = hwy::ConvertScalarTo<float16_t>(scale);
    head += kPanelWidth;
  }
  if (weight.zeroed) {
    const int32_t zero = row < 0 ? 0 : source.zeros[row * weight.Groups() + g];
    *head = hwy::ConvertScalarTo<float16_t>(static_cast<float>(zero));
  }
}

// A row's codes of the k in [begin, end) to one column of a group.
void PackCodes(const QuantizedWeight& weight, const uint8_t* row, int64_t begin, int64_t end,
               uint8_t* packed) {
  const int64_t step_k = weight.bits == 8 ? 4 : 8;
  for (int64_t k = begin; k < end; k += step_k, packed += kPanelWidth * 4) {
    uint8_t codes[8] = {};
    if (row != nullptr && k < weight.k) {
      std::memcpy(codes, row + k, static_cast<size_t>(std::min(step_k, weight.k - k)));
    }
    if (weight.bits == 4) {
      for (int i = 0; i < 4; ++i) codes[i] = static_cast<uint8_t>(codes[i] | codes[i + 4] << 4);
    }
    std::memcpy(packed, codes, 4);
  }
}

void PackPanel(const QuantizedWeight& weight, const QuantizedSource& source, int64_t panel,
               uint8_t* packed) {
  constexpr int64_t kBlock = 64;  // a cache line of each row is read at a time
  const int64_t groups = weight.Groups();
  float row_scales[kPanelWidth];
  int64_t rows[kPanelWidth];
  for (int64_t column = 0; column < kPanelWidth; ++column) {
    const int64_t row = rows[column] = WeightRow(panel, column, weight.n, weight.order);
    if (row < 0) {
      row_scales[column] = 0.0f;
    } else {
      row_scales[column] =
          weight.scaled ? RowScale(source.scales + row * groups, groups) : source.scales[row];
    }
  }
  std::memcpy(packed, row_scales, sizeof(row_scales));
  packed += sizeof(row_scales);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t begin = g * weight.group_size;
    const int64_t end = std::min(begin + weight.group_size, weight.PaddedK());
    for (int64_t column = 0; column < kPanelWidth; ++column) {
      PackGroupHead(weight, source, rows[column], g, row_scales[column],
                    reinterpret_cast<float16_t*>(packed) + column);
    }
    packed += weight.GroupHeadBytes();
    for (int64_t k = begin; k < end; k += kBlock) {
      for (int64_t column = 0; column < kPanelWidth; ++column) {
        const uint8_t* row = rows[column] < 0 ? nullptr : source.codes + rows[column] * weight.k;
        PackCodes(weight, row, k, std::min(k + kBlock, end),
                  packed + (k - begin) * kPanelWidth * weight.bits / 8 + column * 4);
      }
    }
    packed += (end - begin) * kPanelWidth * weight.bits / 8;
  }
}

// Code of column `column` and position k within a group that begins at `codes`.
int CodeAt(const uint8_t* codes, int bits, int64_t column, int64_t k) {
  const int64_t step_k = bits == 8 ? 4 : 8;
  const uint8_t byte = codes[(k / step_k * kPanelWidth + column) * 4 + k % 4];
  if (bits == 8) return byte;
  return k % 8 < 4 ? byte & 15 : byte >> 4;
}

template <typename T>
void GatherRow(const QuantizedWeight& weight, int64_t row, T* out) {
  const int64_t column = row % kPanelWidth;
  const uint8_t* panel = weight.panels + row / kPanelWidth * weight.PanelBytes();
  const float row_scale = reinterpret_cast<const float*>(panel)[column];
  const uint8_t* group = panel + kPanelWidth * 4;
  for (int64_t begin = 0; begin < weight.k; begin += weight.group_size) {
    const int64_t size = std::min(weight.group_size, weight.PaddedK() - begin);
    const float16_t* head = reinterpret_cast<const float16_t*>(group) + column;
    float scale = row_scale, zero = weight.bits == 8 ? 128.0f : 8.0f;
    if (weight.scaled) {
      scale *= hwy::ConvertScalarTo<float>(*head);
      head += kPanelWidth;
    }
    if (weight.zeroed) zero = hwy::ConvertScalarTo<float>(*head);
    const uint8_t* codes = group + weight.GroupHeadBytes();
    for (int64_t i = 0; i < std::min(size, weight.k - begin); ++i) {
      const int64_t to = weight.permutation ? weight.permutation[begin + i] : begin + i;
      const float code = static_cast<float>(CodeAt(codes, weight.bits, column, i));
      out[to] = hwy::ConvertScalarTo<T>(scale * (code - zero));
    }
    group += weight.GroupHeadBytes() + size * kPanelWidth * weight.bits / 8;
  }
}

template <typename T>
void GatherRows(const QuantizedWeight& weight, const int64_t* ids, int64_t count, T* out,
                int64_t out_stride) {
  ParallelFor(count, weight.k * 8, [=, &weight](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) GatherRow(weight, ids[i], out + i * out_stride);
  });
}

}  // namespace

void WriteQuantizedPrefix(const QuantizedWeight& weight, void* packed) {
  PreferHugePages(packed, static_cast<size_t>(weight.PackedBytes()));
  QuantizedHeader header{};
  header.magic = kQuantizedMagic;
  header.n = weight.n;
  header.k = weight.k;
  header.group_size = weight.group_size;
  header.bits = weight.bits;
  header.scaled = weight.scaled;
  header.zeroed = weight.zeroed;
  header.permuted = weight.permutation != nullptr;
  header.gate_up = weight.order == PackOrder::kGateUp;
  uint8_t* bytes = static_cast<uint8_t*>(packed);
  std::memset(bytes, 0, static_cast<size_t>(weight.PrefixBytes()));
  std::memcpy(bytes, &header, sizeof(header));
  if (weight.permutation != nullptr) {
    std::memcpy(bytes + sizeof(header), weight.permutation, static_cast<size_t>(weight.k * 4));
  }
}

void PackQuantizedPanels(const QuantizedWeight& weight, const QuantizedSource& source,
                         uint8_t* panels) {
  const int64_t panel_bytes = weight.PanelBytes();
  ParallelFor(PanelCount(weight.n, weight.order), weight.k * kPanelWidth,
              [=, &weight, &source](int64_t begin, int64_t end) {
                for (int64_t panel = begin; panel < end; ++panel) {
                  PackPanel(weight, source, panel, panels + panel * panel_bytes);
                }
              });
}

void PackQuantizedWeight(const QuantizedWeight& weight, const QuantizedSource& source,
                         void* packed) {
  WriteQuantizedPrefix(weight, packed);
  PackQuantizedPanels(weight, source, static_cast<uint8_t*>(packed) + weight.PrefixBytes());
}

bool ReadQuantizedWeight(const void* packed, int64_t bytes, QuantizedWeight& weight) {
  QuantizedHeader header;
  if (bytes < static_cast<int64_t>(sizeof(header))) return false;
  std::memcpy(&header, packed, sizeof(header));
  if (header.magic != kQuantizedMagic) return false;
  const uint8_t* data = static_cast<const uint8_t*>(packed);
  weight = {nullptr,
            header.permuted ? reinterpret_cast<const int32_t*>(data + sizeof(header)) : nullptr,
            header.n,
            header.k,
            header.group_size,
            header.bits,
            header.scaled != 0,
            header.zeroed != 0,
            header.gate_up ? PackOrder::kGateUp : PackOrder::kPlain};
  weight.panels = data + weight.PrefixBytes();
  return bytes == weight.PackedBytes();
}

void GatherQuantizedRows(const QuantizedWeight& weight, const int64_t* ids, int64_t count,
                         void* out, int64_t out_stride, DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return GatherRows(weight, ids, count, static_cast<float*>(out), out_stride);
    case DType::kFloat16:
      return GatherRows(weight, ids, count, static_cast<float16_t*>(out), out_stride);
    case DType::kBFloat16:
      return GatherRows(weight, ids, count, static_cast<hwy::bfloat16_t*>(out), out_stride);
  }
}

}  // namespace vllm
