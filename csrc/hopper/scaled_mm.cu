#include "hopper/scaled_mm.h"

#include <limits>

#include "device/compat.h"
#include "hopper/scaled_product.h"

namespace vllm::hopper {
namespace {

// With this many rows or fewer, reading b takes longer than multiplying, and smaller tiles read it
// as fast.
constexpr int64_t kRowsOfOthers = 64;

bool IsOnHopper() {
  int device = 0, major = 0, minor = 0;
  const auto attribute = [&](int* value, cudaDeviceAttr which) {
    device::CheckRuntime("cudaDeviceGetAttribute", cudaDeviceGetAttribute(value, which, device));
  };
  device::CheckRuntime("cudaGetDevice", cudaGetDevice(&device));
  attribute(&major, cudaDevAttrComputeCapabilityMajor);
  attribute(&minor, cudaDevAttrComputeCapabilityMinor);
  return major == 9 && minor == 0;
}

bool Takes(const device::ScaledMm& mm) {
  // CUTLASS's shapes are ints, and TMA describes no empty matrix.
  const auto fits = [](int64_t size) {
    return size > 0 && size <= std::numeric_limits<int>::max();
  };
  if (mm.m <= kRowsOfOthers || !fits(mm.m) || !fits(mm.n) || !fits(mm.k)) return false;
  if (mm.out.type != device::Type::kBFloat16 && mm.out.type != device::Type::kFloat16) return false;
  if (mm.out.addend != nullptr && mm.out.addend_stride != 0) return false;
  for (const void* vector :
       {static_cast<const void*>(mm.a_scales), static_cast<const void*>(mm.b_scales), mm.out.addend,
        static_cast<const void*>(mm.adjust), static_cast<const void*>(mm.zero_points)}) {
    if (!device::IsAligned(vector, 16)) return false;
  }
  return IsOnHopper();
}

}  // namespace

bool RunScaledMm(const device::ScaledMm& mm) {
  if (!Takes(mm)) return false;
  // Both in one source: most of its compile goes to CUTLASS's headers.
  if (mm.type == device::Type::kInt8) {
    RunScaledProduct<int8_t>(mm);
  } else {
    RunScaledProduct<cutlass::float_e4m3_t>(mm);
  }
  return true;
}

}  // namespace vllm::hopper
