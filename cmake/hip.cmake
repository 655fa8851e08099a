# HIP sources, compiled by clang through custom commands. CMake's own HIP language insists on a complete ROCm tree, with
# hipconfig and rocminfo; compiling needs only clang, HIP's headers and the device libraries.
#
#   VLLM_HIP_COMPILER  clang++ that targets amdgcn (default: ROCm's, else clang++ on PATH)
#   VLLM_HIP_FLAGS     more flags for it, such as --rocm-device-lib-path=<folder> (default: the environment's HIPFLAGS)
#   ROCM_PATH          ROCm's folder (a CMake or environment variable)

# Finds the compiler and the runtime library; defines vllm::hip_runtime.
function(find_hip)
  if(NOT ROCM_PATH AND DEFINED ENV{ROCM_PATH})
    set(ROCM_PATH "$ENV{ROCM_PATH}")
  endif()
  set(hints ${ROCM_PATH} $ENV{PREFIX} /opt/rocm)
  list(TRANSFORM hints APPEND /llvm/bin OUTPUT_VARIABLE llvm_hints)
  find_program(VLLM_HIP_COMPILER NAMES amdclang++ clang++ clang++-19 HINTS $ENV{HIPCXX} ${llvm_hints})
  find_library(VLLM_HIP_LIBRARY amdhip64 HINTS ${hints} PATH_SUFFIXES lib)
  if(NOT VLLM_HIP_COMPILER OR NOT VLLM_HIP_LIBRARY)
    message(FATAL_ERROR "VLLM_TARGET_DEVICE=rocm needs clang++ (found '${VLLM_HIP_COMPILER}') and libamdhip64 "
      "(found '${VLLM_HIP_LIBRARY}'): set ROCM_PATH, or VLLM_HIP_COMPILER and VLLM_HIP_LIBRARY")
  endif()
  set(VLLM_HIP_FLAGS "$ENV{HIPFLAGS}" CACHE STRING "flags of the HIP compiler")
  add_library(vllm::hip_runtime SHARED IMPORTED GLOBAL)
  set_target_properties(vllm::hip_runtime PROPERTIES IMPORTED_LOCATION "${VLLM_HIP_LIBRARY}")
endfunction()

# compile_hip_sources(OUT target SOURCES ... ARCHITECTURES ... [DEFINITIONS ...] [INCLUDE_DIRECTORIES ...])
# Sets OUT to the objects of the sources, relative to the current folder, compiled for ROCm architectures.
function(compile_hip_sources OUT TARGET)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "SOURCES;ARCHITECTURES;DEFINITIONS;INCLUDE_DIRECTORIES")
  get_torch_gpu_compiler_flags(torch_flags HIP)
  separate_arguments(user_flags UNIX_COMMAND "${VLLM_HIP_FLAGS}")
  string(TOUPPER "${CMAKE_BUILD_TYPE}" build_type)
  separate_arguments(optimization UNIX_COMMAND "${CMAKE_CXX_FLAGS_${build_type}}")
  list(TRANSFORM arg_DEFINITIONS PREPEND -D)
  list(TRANSFORM arg_INCLUDE_DIRECTORIES PREPEND -I)
  set(common -x hip -std=c++17 -fPIC -fvisibility=hidden -Wall ${optimization} --offload-compress
    "-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=" ${torch_flags} ${arg_DEFINITIONS} ${arg_INCLUDE_DIRECTORIES} ${user_flags})
  set(objects "")
  foreach(source IN LISTS arg_SOURCES)
    get_property(archs SOURCE ${source} PROPERTY VLLM_GPU_ARCHS)
    if(NOT archs)
      set(archs ${arg_ARCHITECTURES})
    endif()
    list(TRANSFORM archs PREPEND --offload-arch=)
    get_property(options SOURCE ${source} PROPERTY COMPILE_OPTIONS)
    get_filename_component(absolute "${source}" ABSOLUTE)
    set(object "${CMAKE_CURRENT_BINARY_DIR}/hip/${TARGET}/${source}.o")
    get_filename_component(folder "${object}" DIRECTORY)
    file(MAKE_DIRECTORY "${folder}")
    add_custom_command(
      OUTPUT "${object}"
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} "${VLLM_HIP_COMPILER}" ${common} ${archs} ${options}
        -MD -MF "${object}.d" -c "${absolute}" -o "${object}"
      DEPENDS "${absolute}" DEPFILE "${object}.d"
      COMMENT "Building HIP object ${source}.o" VERBATIM COMMAND_EXPAND_LISTS)
    list(APPEND objects "${object}")
  endforeach()
  set(${OUT} "${objects}" PARENT_SCOPE)
endfunction()
