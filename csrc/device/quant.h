// Quantisers of activations: rows of f32, bf16 or f16 to e4m3 or int8.
#pragma once

#include "device/quantize.h"

namespace vllm::device {

struct Quantize {
  const char* op;
  Rows out;  // rows of `size` elements
  Rows input;
  int64_t size;
  float* scale;              // one value: read by a static scale, written by a dynamic one
  GroupScales scales;        // of scales a row (one group) or a group
  const float* scale_upper;  // of the largest magnitude that a row's scale covers, or nullptr
  int32_t* zero_points;      // int8 only: one (static) or one a row; nullptr: symmetric
  Type type;
  Type out_type;
  Stream stream;
};

// x / scale (+ zero point).
void QuantizeStatic(const Quantize& quantize);
// One scale for the tensor: e4m3 only.
void QuantizePerTensor(const Quantize& quantize);
// One scale a row. With zero points the range of the row is mapped to -128 ... 127, or, where it is
// narrow beside the row's magnitude, to a part of them.
void QuantizePerRow(const Quantize& quantize);

struct GroupQuantize {
  Quantize base;
  float epsilon;       // the least magnitude that a scale covers
  float limit;         // the quantised value that the largest magnitude becomes
  bool powers_of_two;  // scales rounded up to one (ue8m0)
};
void QuantizePerGroup(const GroupQuantize& quantize);

}  // namespace vllm::device
