// Weights of which at most two of any four neighbours in a row are not zero (2:4 sparsity), kept in
// half of the memory: values [rows, k / 2] and, for every four columns, four bits that say where
// its two values were: the place of the first from bit 0 on, of the second, a later one, from bit 2
// on. Of a byte of places the four columns that come first have the lower bits.
#pragma once

#include "device/scaled_mm.h"

namespace vllm::device {

// All contiguous, at multiples of 16 bytes. Of four columns the two of the largest magnitude are
// kept, of equal ones the first: all that is not zero where a row is 2:4 sparse.
struct SparseCompress {
  const char* op;
  const void* input;  // [rows, k], k a multiple of 8
  void* values;       // [rows, k / 2]
  uint8_t* places;    // [rows, k / 8]
  int64_t size;       // of the input, in elements
  Type type;          // int8, e4m3, bf16 or f16
  Stream stream;
};
void CompressSparse(const SparseCompress& args);

// ScaledMm whose b is sparse, without zero points: mm.b are its values, mm.b_stride and mm.k bytes,
// mm.k those of a row of a, a multiple of 32. Sums of 16-bit floats are f32, too.
struct SparseMm {
  ScaledMm mm;
  const uint8_t* places;
  int64_t place_stride;  // a multiple of 4
};
void RunSparseMm(const SparseMm& args);

}  // namespace vllm::device
