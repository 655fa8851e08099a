// Ops about the library itself, and what the kernels ask of torch.
#include <torch/csrc/stable/library.h>

#include <string>

#include "core/isa_name.h"
#include "core/parallel.h"
#include "cpu/amx_trial.h"

namespace vllm {

int MaxThreads() {
  uint32_t threads = 1;
  TORCH_ERROR_CODE_CHECK(torch_get_num_threads(&threads));
  return static_cast<int>(threads);
}

namespace {
std::string cpu_isa() { return UseAmx() ? std::string(kAmxIsa) : CpuIsaName(); }
}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) { m.def("cpu_isa() -> str"); }

STABLE_TORCH_LIBRARY_IMPL(_C, CompositeExplicitAutograd, m) {
  m.impl("cpu_isa", TORCH_BOX(&cpu_isa));
}

}  // namespace vllm
