# torch, as far as extensions see it: the headers of its stable ABI, the libraries to link, its flags for GPU code.
# find_package(Torch) is not used: it drags in every backend torch was built with.

# Sets OUT to the folder of the torch package that is compiled against: VLLM_TORCH_DIR, the one in a conda build's host
# environment where the target is another machine, or the interpreter's.
function(find_torch_dir OUT)
  if(VLLM_TORCH_DIR)
    set(torch_dir "${VLLM_TORCH_DIR}")
  elseif(CMAKE_CROSSCOMPILING)
    file(GLOB torch_dir LIST_DIRECTORIES ON "$ENV{PREFIX}/lib/python3.*/site-packages/torch")
    if(NOT DEFINED ENV{PREFIX} OR NOT torch_dir)
      message(FATAL_ERROR "compiling for ${CMAKE_SYSTEM_PROCESSOR} needs that platform's torch: "
        "pass -DVLLM_TORCH_DIR=<folder with its include/ and lib/>")
    endif()
    list(GET torch_dir 0 torch_dir)
  else()
    run_python(torch_dir
      "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])")
    if(NOT torch_dir)
      message(FATAL_ERROR "${VLLM_PYTHON_EXECUTABLE} has no torch: install torch >= 2.10 there, or pass "
        "-DVLLM_TORCH_DIR=<folder with torch's include and lib>")
    endif()
  endif()
  set(${OUT} "${torch_dir}" PARENT_SCOPE)
endfunction()

# Defines the imported target torch::stable: the headers of torch's stable ABI and libtorch_cpu.
function(find_torch_stable_abi)
  find_torch_dir(torch_dir)
  # conda-forge keeps torch's headers and libraries in the environment's own include/ and lib/: four levels up.
  set(environment "${torch_dir}/../../../..")
  find_path(VLLM_TORCH_INCLUDE_DIR torch/csrc/stable/library.h
    HINTS "${torch_dir}/include" "${environment}/include" NO_CMAKE_FIND_ROOT_PATH)
  find_library(VLLM_TORCH_CPU_LIBRARY torch_cpu
    HINTS "${torch_dir}/lib" "${environment}/lib" NO_CMAKE_FIND_ROOT_PATH)
  if(NOT VLLM_TORCH_INCLUDE_DIR OR NOT VLLM_TORCH_CPU_LIBRARY)
    message(FATAL_ERROR "no stable-ABI headers (torch/csrc/stable) or no libtorch_cpu under "
      "'${torch_dir}': torch >= 2.10 is needed")
  endif()
  add_library(torch::stable SHARED IMPORTED GLOBAL)
  set_target_properties(torch::stable PROPERTIES
    IMPORTED_LOCATION "${VLLM_TORCH_CPU_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${VLLM_TORCH_INCLUDE_DIR}"
    # 2.10, the oldest torch that the binary loads on.
    INTERFACE_COMPILE_DEFINITIONS "TORCH_TARGET_VERSION=0x020a000000000000ULL")
endfunction()

# Defines the target torch::device for LANG CUDA or HIP: libtorch_cuda or libtorch_hip, which hold the stable ABI's
# functions for streams. Where the torch at hand is built without that device, a library of that name with empty
# functions takes its place: the extension needs the name and the symbols only to be linked.
function(find_torch_device_library LANG)
  set(name torch_cuda)
  if(LANG STREQUAL "HIP")
    set(name torch_hip)
  endif()
  get_filename_component(torch_lib "${VLLM_TORCH_CPU_LIBRARY}" DIRECTORY)
  find_library(VLLM_TORCH_DEVICE_LIBRARY ${name} PATHS "${torch_lib}" NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
  if(VLLM_TORCH_DEVICE_LIBRARY)
    add_library(torch::device SHARED IMPORTED GLOBAL)
    set_target_properties(torch::device PROPERTIES IMPORTED_LOCATION "${VLLM_TORCH_DEVICE_LIBRARY}")
  else()
    add_library(torch_device_stub SHARED "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/torch_device_stub.cpp")
    set_target_properties(torch_device_stub PROPERTIES
      OUTPUT_NAME ${name} LIBRARY_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/torch_device_stub")
    add_library(torch::device ALIAS torch_device_stub)
  endif()
endfunction()

# Sets OUT to the flags that torch compiles GPU sources of LANG (CUDA or HIP) with. They are read from its
# utils/cpp_extension.py without importing it; where that file is missing (a folder of headers) they are torch 2.10's.
# Those that forbid operators and conversions of half types are left out: they keep the toolkit's from clashing with
# torch's own, and GPU sources here do not include torch.
function(get_torch_gpu_compiler_flags OUT LANG)
  set(known_CUDA --expt-relaxed-constexpr)
  set(known_HIP -D__HIP_PLATFORM_AMD__=1 -DUSE_ROCM=1 -DHIPBLAS_V2 -fPIC -DCUDA_HAS_FP16=1 -DHIP_ENABLE_WARP_SYNC_BUILTINS=1)
  set(list_CUDA COMMON_NVCC_FLAGS)
  set(list_HIP "COMMON_HIP_FLAGS|COMMON_HIPCC_FLAGS")
  if(NOT DEFINED known_${LANG})
    message(FATAL_ERROR "get_torch_gpu_compiler_flags: LANG is '${LANG}', it must be CUDA or HIP")
  endif()
  set(flags ${known_${LANG}})
  find_torch_dir(torch_dir)
  if(EXISTS "${torch_dir}/utils/cpp_extension.py")
    file(READ "${torch_dir}/utils/cpp_extension.py" text)
    string(REGEX MATCHALL "\n(${list_${LANG}}) = \\[[^]]*\\]" assignments "${text}")
    string(REGEX MATCHALL "'-[^']+'|\"-[^\"]+\"" flags "${assignments}")
    string(REGEX REPLACE "['\"]" "" flags "${flags}")
  endif()
  list(FILTER flags EXCLUDE REGEX "_NO_(HALF|BFLOAT16)")
  set(${OUT} "${flags}" PARENT_SCOPE)
endfunction()
