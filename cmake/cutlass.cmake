# CUTLASS's headers, from where they already are: nothing is downloaded.

# Defines vllm::cutlass where headers are found in, first to last: VLLM_CUTLASS_SRC_DIR (a checkout; a CMake or
# environment variable), FETCHCONTENT_BASE_DIR/cutlass-src, CMAKE_PREFIX_PATH (conda-forge: cutlass), PyPI's nvidia-cutlass.
function(find_cutlass)
  if(NOT VLLM_CUTLASS_SRC_DIR AND DEFINED ENV{VLLM_CUTLASS_SRC_DIR})
    set(VLLM_CUTLASS_SRC_DIR "$ENV{VLLM_CUTLASS_SRC_DIR}")
  endif()
  set(no_default "")
  if(VLLM_CUTLASS_SRC_DIR)
    set(no_default NO_DEFAULT_PATH)
    set(hints "${VLLM_CUTLASS_SRC_DIR}/include")
  else()
    set(base "${FETCHCONTENT_BASE_DIR}")
    if(NOT base)
      set(base "${CMAKE_BINARY_DIR}/_deps")
    endif()
    run_python(wheel "import importlib.util as u; print(u.find_spec('cutlass_library').submodule_search_locations[0])")
    set(hints "${base}/cutlass-src/include" "${wheel}/source/include")
  endif()
  find_path(VLLM_CUTLASS_INCLUDE_DIR cutlass/cutlass.h HINTS ${hints} ${no_default} NO_CMAKE_FIND_ROOT_PATH)
  if(VLLM_CUTLASS_INCLUDE_DIR)
    add_library(vllm::cutlass INTERFACE IMPORTED GLOBAL)
    set_target_properties(vllm::cutlass PROPERTIES
      INTERFACE_INCLUDE_DIRECTORIES "${VLLM_CUTLASS_INCLUDE_DIR}")
  elseif(VLLM_CUTLASS_SRC_DIR)
    message(FATAL_ERROR "VLLM_CUTLASS_SRC_DIR is '${VLLM_CUTLASS_SRC_DIR}', which has no include/cutlass/cutlass.h: "
      "name a CUTLASS checkout, or unset it to use the installed one")
  endif()
endfunction()
