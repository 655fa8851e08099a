// Rotary position embedding (Su et al., 2021) of `rotary_size` elements of every head.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace vllm {

inline constexpr int64_t kMaxHeadSize = 1024;

// A table of cosines and sines: row p is cos(p f_0) ... cos(p f_h-1) sin(p f_0) ... sin(p f_h-1), h
// = rotary_size / 2.
struct RotaryTable {
  const void* data;
  int64_t row_stride;  // elements
  int64_t rotary_size;
  DType dtype;
};

// Heads of one tensor; strides in elements, the elements of a head adjacent.
struct HeadsView {
  void* data;            // the first head's first rotated element
  int64_t outer_stride;  // of the first token dimension
  int64_t token_stride;  // of the last one
  int64_t head_stride;
  int64_t heads;
};

struct RotaryArgs {
  HeadsView query;
  HeadsView key;  // key.heads is 0 where there is none
  const int64_t* positions;
  int64_t positions_outer_stride;
  int64_t positions_stride;
  int64_t outer;  // sizes of the token dimensions
  int64_t tokens;
  int64_t head_size;
  RotaryTable table;
  bool is_neox;  // pairs (i, i + h); otherwise (2 i, 2 i + 1)
  bool inverse;  // rotates back
  DType dtype;   // of query and key; arithmetic is f32
};
void RotaryEmbedding(const RotaryArgs& args);

}  // namespace vllm
