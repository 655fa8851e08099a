// Checks that the ops over a paged cache share.
#pragma once

#include "bindings/tensor.h"

namespace vllm {

// slot_mapping: i64 [tokens], contiguous, every slot below `slots`; negative ones mean "skip".
void CheckSlots(const TensorView& slot_mapping, int64_t tokens, int64_t slots);

}  // namespace vllm
