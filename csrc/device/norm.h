// RMS normalisation (Zhang and Sennrich, 2019) of rows, alone or with an addition before it and
// quantisation after it. Arithmetic is f32; results are rounded once. What is quantised is the norm
// in the input's type, as the two ops after one another would; with dynamic scales, as vLLM has
// them, the rows are rounded to it before the weight, too.
#pragma once

#include "device/quantize.h"

namespace vllm::device {

enum class NormQuant : uint8_t { kNone, kStatic, kPerToken, kPerGroup };

struct Norm {
  const char* op;
  Rows out;  // may be the input
  Rows input;
  Rows residual;        // data is null without one; else it becomes input + residual
  const void* weight;   // [hidden] or [weights, hidden], of the input's type; null: factors of 1
  int64_t weight_rows;  // of the input that each row of weights serves
  const float* scale;   // of kStatic
  GroupScales scales;   // of kPerToken (one group a row) and kPerGroup
  const float* scale_upper;
  int64_t hidden;
  float epsilon;
  Type type;
  Type out_type;  // of a quantised result: kFp8E4M3 or kInt8
  NormQuant quant;
  Stream stream;
};
void RmsNorm(const Norm& norm);

}  // namespace vllm::device
