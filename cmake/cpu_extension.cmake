# vllm._C: every CPU kernel in one module. Instruction sets are compiled side by side by Highway and chosen at run time.
find_package(hwy 1.3 QUIET)
if(NOT hwy_FOUND)
  message(FATAL_ERROR "Highway >= 1.3 was not found: install it (conda-forge: libhwy; Debian 12's libhwy-dev is too old) "
    "and pass -DCMAKE_PREFIX_PATH=<its prefix>, with pip as CMAKE_ARGS")
endif()
find_package(OpenMP REQUIRED COMPONENTS CXX)

# A family is csrc/cpu/<family>.cpp (kernels, no torch) and csrc/bindings/<family>.cpp (schemas, checks).
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
  rotary
  sampling)

set(VLLM_CPU_SOURCES
  csrc/core/isa.cpp
  csrc/bindings/library.cpp
  csrc/bindings/recording.cpp
  csrc/bindings/tensor.cpp)
foreach(family IN LISTS VLLM_CPU_FAMILIES)
  list(APPEND VLLM_CPU_SOURCES csrc/cpu/${family}.cpp csrc/bindings/${family}.cpp)
endforeach()
list(APPEND VLLM_CPU_SOURCES csrc/cpu/linear_weight.cpp csrc/cpu/quantized_weight.cpp)

# Of Highway's x86 targets SSE2, AVX2, AVX3 (AVX-512) and AVX3_ZEN4 (AVX-512 with bf16) are built; the others add
# compile time and size and no speed here.
define_extension_target(_C
  DESTINATION vllm
  SOURCES ${VLLM_CPU_SOURCES}
  LIBRARIES hwy::hwy OpenMP::OpenMP_CXX
  DEFINITIONS
    "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4|HWY_AVX3_DL|HWY_AVX3_SPR|HWY_AVX10_2)")
