// Between the qkv projection and attention, in one pass over each token: norm, rotary embedding,
// cache write.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "cpu/kv_code.h"
#include "cpu/rotary.h"

namespace vllm {

// A paged cache [blocks, block_size, kv_heads, head_size]; strides in elements, the elements of a
// head adjacent. `packed`: the layout KvLayout::kPacked, without a slot_stride.
struct PagedCache {
  void* data;
  int64_t block_stride;
  int64_t slot_stride;
  int64_t head_stride;
  bool packed;
  KvScales scales;  // of a coded cache
};

struct QkvArgs {
  void* qkv;  // [tokens, (heads + 2 * kv_heads) * head_size]
  int64_t token_stride;
  int64_t tokens;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_size;
  const int64_t* positions;
  RotaryTable table;     // table.data is null where there is no rotary embedding
  const void* q_weight;  // [head_size]; null where queries are not normalized
  const void* k_weight;  // the same for keys
  float epsilon;
  bool is_neox;
  PagedCache key_cache;
  PagedCache value_cache;
  KvCode code;  // not kNone: a packed cache of 8-bit codes
  int64_t block_size;
  const int64_t*
      slots;  // block * block_size + offset for each token; negative: key and value are not stored
  DType dtype;
};
// Normalizes and rotates queries in place; normalizes and rotates keys into key_cache; copies
// values into value_cache. Norm and rotation are computed in f32 and rounded once. Codes are what
// then comes nearest to the value over its scale; scales of single heads are set so that the
// largest element gets the largest code.
void QkvNormRopeCache(const QkvArgs& args);

}  // namespace vllm
