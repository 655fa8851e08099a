# The CPU kernels, part of vllm._C on every device: VLLM_CPU_SOURCES, VLLM_CPU_LIBRARIES, VLLM_CPU_DEFINITIONS and
# VLLM_CPU_OPTIONS. Instruction sets are compiled side by side by Highway and chosen at run time.
find_cpu_arch()
detect_cpu_features()
choose_cpu_targets()

find_package(hwy 1.3 QUIET)
if(NOT hwy_FOUND)
  message(FATAL_ERROR "Highway >= 1.3 was not found: install it (conda-forge: libhwy; Debian 12's libhwy-dev is too old) "
    "and pass -DCMAKE_PREFIX_PATH=<its prefix>, with pip as CMAKE_ARGS")
endif()
find_package(OpenMP REQUIRED COMPONENTS CXX)
set(VLLM_CPU_LIBRARIES hwy::hwy OpenMP::OpenMP_CXX)

# A family is csrc/cpu/<family>.cpp (kernels, no torch) and csrc/bindings/<family>.cpp (schemas, checks). A build for
# tests may set fewer of them.
if(NOT VLLM_CPU_FAMILIES)
  set(VLLM_CPU_FAMILIES
    activation
    attention
    cache
    merge_states
    linear
    norm
    penalties
    qkv
    quantized_linear
    rank_exchange
    rotary
    sampling
    scaled_quant
    screened_head)
endif()

set(VLLM_CPU_SOURCES
  csrc/core/amx.cpp
  csrc/core/isa.cpp
  csrc/core/vnni.cpp
  csrc/bindings/library.cpp
  csrc/bindings/recording.cpp
  csrc/bindings/tensor.cpp
  csrc/bindings/view.cpp)
foreach(family IN LISTS VLLM_CPU_FAMILIES)
  list(APPEND VLLM_CPU_SOURCES csrc/cpu/${family}.cpp csrc/bindings/${family}.cpp)
endforeach()
list(APPEND VLLM_CPU_SOURCES csrc/cpu/amx_tile.cpp csrc/cpu/amx_trial.cpp csrc/cpu/linear_weight.cpp csrc/cpu/quantize_weight.cpp csrc/cpu/quantized_weight.cpp)
