#include "hopper/scaled_mm.h"
#include "hopper/scaled_product.h"

namespace vllm::hopper {

void RunScaledInt8(const device::ScaledMm& mm) { RunScaledProduct<int8_t>(mm); }

}  // namespace vllm::hopper
