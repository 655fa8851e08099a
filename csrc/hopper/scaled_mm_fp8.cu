#include "hopper/scaled_mm.h"
#include "hopper/scaled_product.h"

namespace vllm::hopper {

void RunScaledFp8(const device::ScaledMm& mm) { RunScaledProduct<cutlass::float_e4m3_t>(mm); }

}  // namespace vllm::hopper
