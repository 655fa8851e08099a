// Products of bf16 matrices, of groups too, by the tiles of e4m3's.
#pragma once

#include "device/scaled_mm.h"

namespace vllm::device {

void RunBf16Gemm(const GroupedMm& gemm);

}  // namespace vllm::device
