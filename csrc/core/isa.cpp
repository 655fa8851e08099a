#include "core/isa.h"

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "core/amx.h"
#include "core/isa_name.h"
#include "core/vnni.h"

namespace vllm {
namespace {

struct Isa {
  const char* name;
  int64_t target;
  bool (*vnni)() = nullptr;  // with VNNI, where this finds it beside the target
};

// Best first, as lower Highway target bits are better.
constexpr Isa kIsas[] = {
#if HWY_ARCH_X86
    {"avx512_bf16", HWY_AVX3_ZEN4},
    {"avx512_vnni", HWY_AVX3, Avx512VnniAvailable},
    {"avx512", HWY_AVX3},
    {"avx2_vnni", HWY_AVX2, AvxVnniAvailable},
    {"avx2", HWY_AVX2},
    {"sse2", HWY_SSE2},
#elif HWY_ARCH_ARM
    {"sve2_128", HWY_SVE2_128},
    {"sve_256", HWY_SVE_256},
    {"sve2", HWY_SVE2},
    {"sve", HWY_SVE},
    {"neon_bf16", HWY_NEON_BF16},
    {"neon", HWY_NEON},
    {"neon_without_aes", HWY_NEON_WITHOUT_AES},
#elif HWY_ARCH_PPC
    {"power10", HWY_PPC10},
    {"power9", HWY_PPC9},
    {"power8", HWY_PPC8},
#elif HWY_ARCH_S390X
    {"z15", HWY_Z15},
    {"z14", HWY_Z14},
#else
    {"baseline", HWY_STATIC_TARGET},
#endif
};

int64_t SupportedTargets() {
  int64_t targets = hwy::SupportedTargets();
#if HWY_ARCH_X86
  // Highway reserves AVX3_ZEN4 for AMD; Intel's Sapphire Rapids and later have all of its
  // instructions.
  if (targets & (HWY_AVX3_SPR | HWY_AVX10_2)) targets |= HWY_AVX3_ZEN4;
#endif
  return targets;
}

bool Offers(const Isa& isa, int64_t targets) {
  return (isa.target & HWY_TARGETS & targets) && (isa.vnni == nullptr || isa.vnni());
}

struct Choice {
  int64_t targets;
  const Isa* isa;  // null where no name fits, as Highway's baseline of a CPU that kIsas lacks
};

Choice Choose() {
  const int64_t supported = SupportedTargets();
  const std::string_view wanted = WantedCpuIsa();
  const bool amx = AmxAvailable();
  const bool best = wanted.empty() || (wanted == kAmxIsa && amx);
  std::string available(amx ? kAmxIsa : "");
  for (const Isa& isa : kIsas) {
    if (!Offers(isa, supported | HWY_STATIC_TARGET)) continue;
    if (best) return {supported, &isa};
    // Targets better than the wanted one are its lower bits.
    if (wanted == isa.name) return {supported & ~(isa.target - 1), &isa};
    available += available.empty() ? isa.name : std::string(", ") + isa.name;
  }
  if (best) return {supported, nullptr};
  throw std::runtime_error("VLLM_CPU_ISA is '" + std::string(wanted) +
                           "', but this CPU and build offer: " + available +
                           "; choose one of them or unset it for the best");
}

const Choice& Chosen() {
  static const Choice choice = Choose();
  return choice;
}

struct UpdatedTarget : hwy::ChosenTarget {
  explicit UpdatedTarget(int64_t targets) { Update(targets); }
};

}  // namespace

const hwy::ChosenTarget& CpuTarget() {
  static const UpdatedTarget target(Chosen().targets);
  return target;
}

std::string_view WantedCpuIsa() {
  const char* wanted = std::getenv("VLLM_CPU_ISA");
  return wanted == nullptr ? "" : wanted;
}

bool UseVnni() {
  static const bool use = Chosen().isa != nullptr && Chosen().isa->vnni != nullptr;
  return use;
}

const char* CpuIsaName() { return Chosen().isa != nullptr ? Chosen().isa->name : "baseline"; }

}  // namespace vllm
