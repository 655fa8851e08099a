# The device that the build is for, and what compiling for it needs.

# Sets VLLM_TARGET_DEVICE from the CMake or the environment variable of that name, in small letters; cpu where neither is
# set.
function(choose_target_device)
  set(device "${VLLM_TARGET_DEVICE}")
  if(device STREQUAL "")
    set(device "$ENV{VLLM_TARGET_DEVICE}")
  endif()
  if(device STREQUAL "")
    set(device cpu)
  endif()
  string(TOLOWER "${device}" device)
  if(NOT device MATCHES "^(cpu|cuda|rocm|xpu|tpu|empty)$")
    message(FATAL_ERROR "VLLM_TARGET_DEVICE is '${device}': set it to cpu, cuda, rocm, xpu, tpu or empty")
  endif()
  set(VLLM_TARGET_DEVICE "${device}" CACHE STRING "cpu, cuda, rocm, xpu, tpu or empty" FORCE)
endfunction()

# Refuses a CMAKE_BUILD_TYPE without flags of its own, unless CXXFLAGS say how to optimise, as those of distributions do:
# CMake would compile it without optimisation, and say nothing.
function(require_build_type)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  if("${CMAKE_CXX_FLAGS_${type}}" STREQUAL "" AND NOT CMAKE_CXX_FLAGS MATCHES "(^| )-O")
    message(FATAL_ERROR "CMAKE_BUILD_TYPE is '${CMAKE_BUILD_TYPE}': set it to Release, RelWithDebInfo, MinSizeRel or Debug, "
      "or unset it")
  endif()
endfunction()

# Enables CUDA and sets VLLM_GPU_ARCHS. Architectures come from TORCH_CUDA_ARCH_LIST, else from flags in CUDAFLAGS, else
# they are all that the toolkit's lane is for.
macro(enable_cuda)
  set(CMAKE_CUDA_ARCHITECTURES OFF)
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    message(FATAL_ERROR "VLLM_TARGET_DEVICE=cuda needs nvcc: put it on PATH, or set CUDACXX to it")
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  clear_cuda_gencode_flags(VLLM_CUDA_ARCH_FLAGS)
  extract_unique_cuda_archs_ascending(VLLM_DEFAULT_ARCHS "${VLLM_CUDA_ARCH_FLAGS}")
  add_ptx_of_flags(VLLM_DEFAULT_ARCHS "${VLLM_DEFAULT_ARCHS}" "${VLLM_CUDA_ARCH_FLAGS}")
  if(NOT VLLM_DEFAULT_ARCHS)
    default_cuda_archs(VLLM_DEFAULT_ARCHS ${CMAKE_CUDA_COMPILER_VERSION})
  endif()
  supported_cuda_archs(VLLM_SUPPORTED_ARCHS ${CMAKE_CUDA_COMPILER_VERSION})
  override_gpu_arches(VLLM_GPU_ARCHS CUDA "${VLLM_SUPPORTED_ARCHS}" "${VLLM_DEFAULT_ARCHS}")
  if(NOT NVCC_THREADS AND DEFINED ENV{NVCC_THREADS})
    set(NVCC_THREADS "$ENV{NVCC_THREADS}")
  endif()
  if(NVCC_THREADS AND NOT NVCC_THREADS MATCHES "^[1-9][0-9]*$")
    message(FATAL_ERROR "NVCC_THREADS is '${NVCC_THREADS}': set it to a number of threads, or leave it unset")
  endif()
  find_torch_device_library(CUDA)
  message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${VLLM_GPU_ARCHS}")
endmacro()

# Finds the HIP compiler and sets VLLM_GPU_ARCHS from PYTORCH_ROCM_ARCH, else to all that the ROCm lane is for.
macro(enable_rocm)
  find_hip()
  override_gpu_arches(VLLM_GPU_ARCHS HIP "${VLLM_SUPPORTED_ROCM_ARCHS}")
  find_torch_device_library(HIP)
  message(STATUS "HIP with ${VLLM_HIP_COMPILER} for ${VLLM_GPU_ARCHS}")
endmacro()
