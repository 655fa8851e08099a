# Compilers start through build_support/compile_launcher.py, which waits until there is memory for them, records what they
# took and tries a killed one again; behind it through sccache or else ccache, where one is installed.
#
#   VLLM_COMPILER_CACHE     OFF compiles without a cache (default: ON)
#   VLLM_COMPILE_LAUNCHER   OFF starts compilers directly (default: ON)
#   CMAKE_CXX_COMPILER_LAUNCHER, CMAKE_CUDA_COMPILER_LAUNCHER   a cache of one's own choice, kept behind the launcher
function(use_compile_launcher SOURCE_ROOT)
  option(VLLM_COMPILER_CACHE "compile through sccache or ccache" ON)
  option(VLLM_COMPILE_LAUNCHER "start compilers by memory and record what they took" ON)
  set(cache "")
  if(VLLM_COMPILER_CACHE)
    find_program(VLLM_COMPILER_CACHE_PROGRAM NAMES sccache ccache)
    if(VLLM_COMPILER_CACHE_PROGRAM)
      set(cache "${VLLM_COMPILER_CACHE_PROGRAM}")
    endif()
  endif()
  set(launcher "")
  if(VLLM_COMPILE_LAUNCHER AND CMAKE_HOST_UNIX)
    set(launcher "${VLLM_PYTHON_EXECUTABLE}" -ES "${SOURCE_ROOT}/build_support/compile_launcher.py"
      "${CMAKE_BINARY_DIR}" "${SOURCE_ROOT}" "${SOURCE_ROOT}/cmake/compile_costs.json")
  endif()
  foreach(language CXX CUDA)
    set(own "${CMAKE_${language}_COMPILER_LAUNCHER}")
    if(own STREQUAL "")
      set(own "${cache}")
    endif()
    set(CMAKE_${language}_COMPILER_LAUNCHER ${launcher} ${own} PARENT_SCOPE)
  endforeach()
endfunction()
