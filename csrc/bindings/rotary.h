// Checks that the ops with a rotary embedding share.
#pragma once

#include "bindings/tensor.h"
#include "cpu/rotary.h"

namespace vllm {

// cos_sin_cache [max_position, rotary_size], f32 or the dtype of `like`; rotary_size even and at
// most head_size.
RotaryTable CheckRotaryTable(const TensorView& cos_sin_cache, const TensorView& like,
                             int64_t head_size);

// Every one of `count` positions (any strides up to 2 dimensions) lies in [0, limit).
void CheckPositions(const TensorView& positions, int64_t limit);

}  // namespace vllm
