// Rotary position embedding (Su et al., 2021) of `rotary_size` elements of every head,
// alone or after an RMS normalisation of each query and key head.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

// Heads of one tensor; strides in elements, the elements of a head adjacent.
struct Heads {
  void* data;            // of a rotation alone, the first head's first rotated element
  int64_t outer_stride;  // of the first of two token dimensions
  int64_t token_stride;
  int64_t head_stride;
  int heads;  // 0: no tensor
};

struct Rotary {
  const char* op;
  Heads query;
  Heads key;
  const int64_t* positions;  // tokens whose position is outside the table are left as they are
  int64_t positions_outer_stride;
  int64_t positions_stride;
  int64_t outer;  // sizes of the token dimensions
  int64_t tokens;
  // Row p: cosines of p times each of rotary_size / 2 frequencies, then sines; f32 or `type`.
  const void* table;
  int64_t table_stride;
  int64_t table_rows;
  Type table_type;
  int head_size;
  int rotary_size;
  bool is_neox;  // pairs (i, i + rotary_size / 2); otherwise (2 i, 2 i + 1)
  bool inverse;  // rotates back; of a rotation alone
  Type type;     // of query and key; arithmetic is f32
  // Of a normalisation before it, else nullptr: [head_size] in `type`.
  const void* query_weight;
  const void* key_weight;
  float epsilon;
  Stream stream;
};
void RotaryEmbedding(const Rotary& rotary);
// head_size at most 256.
void NormRotaryEmbedding(const Rotary& rotary);

}  // namespace vllm::device
