#include "core/vnni.h"

#if defined(VLLM_CPU_VNNI)

#include <cpuid.h>

namespace vllm {

bool VnniAvailable() {
  unsigned a, b, c, d;
  constexpr unsigned kVnni = 1u << 11;
  static const bool available = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & kVnni);
  return available;
}

}  // namespace vllm

#else

namespace vllm {

bool VnniAvailable() { return false; }

}  // namespace vllm

#endif
