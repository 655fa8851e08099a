# Sets VLLM_PYTHON_EXECUTABLE to EXECUTABLE, or to the first python3 on PATH where EXECUTABLE is empty.
# The interpreter is only asked where torch lives; nothing links against it, so any Python >= 3.10 serves.
function(find_python_from_executable EXECUTABLE)
  if(NOT EXECUTABLE)
    find_program(VLLM_FOUND_PYTHON NAMES python3 python)
    set(EXECUTABLE "${VLLM_FOUND_PYTHON}")
  endif()
  if(NOT EXISTS "${EXECUTABLE}")
    message(FATAL_ERROR "Python '${EXECUTABLE}' does not exist: pass -DVLLM_PYTHON_EXECUTABLE=/path/to/python")
  endif()
  set(VLLM_PYTHON_EXECUTABLE "${EXECUTABLE}" CACHE FILEPATH "Python whose torch is compiled against" FORCE)
endfunction()

# Runs Python code and stores its stripped output in VARIABLE; empty where the code fails.
function(run_python VARIABLE CODE)
  execute_process(
    COMMAND "${VLLM_PYTHON_EXECUTABLE}" -c "${CODE}"
    OUTPUT_VARIABLE output OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(${VARIABLE} "${output}" PARENT_SCOPE)
endfunction()

# Appends to CMAKE_PREFIX_PATH what the Python expression EXPRESSION of PACKAGE evaluates to.
macro(append_cmake_prefix_path PACKAGE EXPRESSION)
  run_python(prefix_path_entry "import ${PACKAGE}; print(${EXPRESSION})")
  if(prefix_path_entry)
    list(APPEND CMAKE_PREFIX_PATH "${prefix_path_entry}")
  endif()
endmacro()

# Defines the imported target torch::stable: the headers of torch's stable ABI and libtorch_cpu.
# find_package(Torch) is not used: it drags in every backend torch was built with.
function(find_torch_stable_abi)
  if(NOT VLLM_TORCH_DIR)
    run_python(torch_dir
      "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])")
    if(NOT torch_dir)
      message(FATAL_ERROR "${VLLM_PYTHON_EXECUTABLE} has no torch: install torch >= 2.10 there, or pass "
        "-DVLLM_TORCH_DIR=<folder with torch's include and lib>")
    endif()
    set(VLLM_TORCH_DIR "${torch_dir}" CACHE PATH "folder with torch's include/ and lib/" FORCE)
  endif()
  # conda-forge keeps torch's headers and libraries in the environment's own include/ and lib/.
  run_python(python_prefix "import sys; print(sys.prefix)")
  find_path(VLLM_TORCH_INCLUDE_DIR torch/csrc/stable/library.h
    HINTS "${VLLM_TORCH_DIR}/include" "${python_prefix}/include")
  find_library(VLLM_TORCH_CPU_LIBRARY torch_cpu HINTS "${VLLM_TORCH_DIR}/lib" "${python_prefix}/lib")
  if(NOT VLLM_TORCH_INCLUDE_DIR OR NOT VLLM_TORCH_CPU_LIBRARY)
    message(FATAL_ERROR "no stable-ABI headers (torch/csrc/stable) or no libtorch_cpu under "
      "'${VLLM_TORCH_DIR}': torch >= 2.10 is needed")
  endif()
  add_library(torch::stable SHARED IMPORTED GLOBAL)
  set_target_properties(torch::stable PROPERTIES
    IMPORTED_LOCATION "${VLLM_TORCH_CPU_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${VLLM_TORCH_INCLUDE_DIR}"
    # 2.10, the oldest torch that the binary loads on.
    INTERFACE_COMPILE_DEFINITIONS "TORCH_TARGET_VERSION=0x020a000000000000ULL")
endfunction()

# define_extension_target(NAME DESTINATION dir SOURCES ... [LIBRARIES ...] [DEFINITIONS ...])
# A module NAME.abi3.so in DESTINATION of the package, over torch's stable ABI and without libpython.
function(define_extension_target NAME)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "DESTINATION" "SOURCES;LIBRARIES;DEFINITIONS")
  if(NOT arg_DESTINATION OR NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "define_extension_target(${NAME}): DESTINATION and SOURCES are required; "
      "unknown arguments: '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  add_library(${NAME} MODULE ${arg_SOURCES})
  target_include_directories(${NAME} PRIVATE ${PROJECT_SOURCE_DIR}/csrc)
  target_compile_features(${NAME} PRIVATE cxx_std_17)
  target_compile_definitions(${NAME} PRIVATE ${arg_DEFINITIONS})
  target_link_libraries(${NAME} PRIVATE torch::stable ${arg_LIBRARIES})
  # No build id, no absolute path: two builds of the same sources are the same bytes.
  target_compile_options(${NAME} PRIVATE -Wall -Wextra "-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=")
  target_link_options(${NAME} PRIVATE -Wl,--build-id=none -Wl,--no-undefined
    "$<$<OR:$<CONFIG:Release>,$<CONFIG:MinSizeRel>>:-Wl,-s>")
  # Beside pip's torch, or in a conda environment's lib/ (the package lies in lib/pythonX.Y/site-packages/vllm).
  # Shared libraries found elsewhere keep their folder, except where conda relocates the package.
  set(rpath "$ORIGIN/../torch/lib" "$ORIGIN/../../..")
  if(NOT DEFINED ENV{CONDA_BUILD})
    foreach(library IN LISTS arg_LIBRARIES)
      get_target_property(type ${library} TYPE)
      if(type STREQUAL "SHARED_LIBRARY")
        list(APPEND rpath "$<TARGET_FILE_DIR:${library}>")
      endif()
    endforeach()
  endif()
  set_target_properties(${NAME} PROPERTIES
    PREFIX "" SUFFIX ".abi3.so"
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    BUILD_WITH_INSTALL_RPATH ON
    INSTALL_RPATH "${rpath}")
  install(TARGETS ${NAME} LIBRARY DESTINATION ${arg_DESTINATION} COMPONENT ${NAME})
endfunction()
