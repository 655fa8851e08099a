// Products of matrices of bytes (int8, e4m3) whose scales are applied to the sums:
// out[m, n] = a[m, k] b[n, k]^T. Rows of a and of b start at multiples of 16 bytes, and k is a
// multiple of 16.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

// Where a product goes; rows of f32, bf16 or f16.
struct MmOutput {
  void* data;
  int64_t stride;
  int64_t group_stride;
  const void* addend;     // rows of the same type that are added; nullptr: none
  int64_t addend_stride;  // 0: one row for all, a bias
  Type type;
};

// out[i, j] = a_scales[i] * b_scales[j] * (sum of a[i] * b[j] - zero_points[i] * adjust[j]).
// Sums of int8 are i32, of e4m3 f32.
struct ScaledMm {
  const char* op;
  const uint8_t* a;
  const uint8_t* b;
  int64_t a_stride;
  int64_t b_stride;
  int64_t m;
  int64_t n;  // even
  int64_t k;
  const float* a_scales;
  const float* b_scales;
  int64_t a_scale_step;  // 0: one scale for all rows
  int64_t b_scale_step;
  const int32_t* adjust;       // [n] or nullptr; int8 only
  const int32_t* zero_points;  // [m] or nullptr: 1
  MmOutput out;
  Type type;  // of a and b
  Stream stream;
};

void RunScaledMm(const ScaledMm& mm);

constexpr int kScaleBlock = 128;

// Strides of scales, one for each block of 128 of k: of a row (of a) or a block of 128 rows (of b),
// of a block of k, and of a group.
struct BlockScales {
  const float* data;
  int64_t row_stride;
  int64_t block_stride;
  int64_t group_stride;
};

// Groups are products of their own (the experts of a mixture); there is one of them at least.
struct GroupedMm {
  const char* op;
  const uint8_t* a;
  const uint8_t* b;
  int64_t a_stride;  // of a and b, in bytes
  int64_t b_stride;
  int64_t a_group_stride;
  int64_t b_group_stride;
  int64_t m;  // rows of a group
  int64_t n;  // even
  int64_t k;
  int groups;
  // Either: how many rows of each group count, the others being left alone.
  const int32_t* group_rows;
  // Or, with rows of all groups in one a: the group of each row, the same for each 128 rows. Rows
  // of a group that is not there are left alone.
  const int32_t* row_groups;
  int64_t expected_rows;  // of a group, for the choice of tiles
  MmOutput out;
  Stream stream;
};

// e4m3 with a scale for 1 x 128 elements of a and 128 x 128 of b, and f32 sums.
struct BlockScaledMm : GroupedMm {
  BlockScales a_scales;
  BlockScales b_scales;
};

void RunBlockScaledMm(const BlockScaledMm& mm);

}  // namespace vllm::device
