// The k largest logits of a part of each row, without sorting: a radix selection finds the k-th
// largest value, one more pass collects the indices.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

struct TopK {
  const char* op;
  const float* logits;
  int64_t row_stride;
  int64_t column_stride;
  int32_t* indices;  // [rows, k], relative to the row's first column; -1 where the part is shorter
  // Row r covers columns [starts[r], ends[r]), or, where starts is null,
  // [0, ends[r / rows_a_seq] - rows_a_seq + r % rows_a_seq + 1).
  const int32_t* starts;
  const int32_t* ends;
  int64_t rows_a_seq;
  int64_t rows;
  int64_t columns;
  int k;
  Stream stream;
};
// Of equal logits the ones at lower indices are taken; indices ascend in no particular order of
// value.
void SelectTopK(const TopK& args);

}  // namespace vllm::device
