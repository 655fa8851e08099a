#include "core/vnni.h"

#if defined(VLLM_CPU_AVX512VNNI) || defined(VLLM_CPU_AVXVNNI)
#include <cpuid.h>
#endif

namespace vllm {

bool Avx512VnniAvailable() {
#if defined(VLLM_CPU_AVX512VNNI)
  constexpr unsigned kVnni = 1u << 11;
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & kVnni);
#else
  return false;
#endif
}

bool AvxVnniAvailable() {
#if defined(VLLM_CPU_AVXVNNI)
  constexpr unsigned kVnni = 1u << 4;
  unsigned subleaves, a, b, c, d;
  return __get_cpuid_count(7, 0, &subleaves, &b, &c, &d) && subleaves >= 1 &&
         __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & kVnni);
#else
  return false;
#endif
}

}  // namespace vllm
