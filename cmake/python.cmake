# The Python that is asked where things are. Nothing links against it.

# Sets VLLM_PYTHON_EXECUTABLE to EXECUTABLE, or to the first python3 on PATH where EXECUTABLE is empty.
function(find_python_from_executable EXECUTABLE)
  if(NOT EXECUTABLE)
    find_program(VLLM_FOUND_PYTHON NAMES python3 python)
    set(EXECUTABLE "${VLLM_FOUND_PYTHON}")
  endif()
  if(NOT EXISTS "${EXECUTABLE}")
    message(FATAL_ERROR "Python '${EXECUTABLE}' does not exist: pass -DVLLM_PYTHON_EXECUTABLE=/path/to/python")
  endif()
  set(VLLM_PYTHON_EXECUTABLE "${EXECUTABLE}" CACHE FILEPATH "Python whose torch is compiled against" FORCE)
  run_python(version "import sys; print('%d.%d' % sys.version_info[:2])")
  if(NOT version OR version VERSION_LESS 3.10)
    message(FATAL_ERROR "'${EXECUTABLE}' is Python '${version}': 3.10 or later is needed, "
      "pass -DVLLM_PYTHON_EXECUTABLE=/path/to/python")
  endif()
endfunction()

# Runs Python code and stores its stripped output in VARIABLE; empty where the code fails.
function(run_python VARIABLE CODE)
  execute_process(
    COMMAND "${VLLM_PYTHON_EXECUTABLE}" -c "${CODE}"
    OUTPUT_VARIABLE output OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(${VARIABLE} "${output}" PARENT_SCOPE)
endfunction()

# Appends to CMAKE_PREFIX_PATH what the Python expression EXPRESSION of PACKAGE evaluates to; nothing where it fails.
macro(append_cmake_prefix_path PACKAGE EXPRESSION)
  run_python(prefix_path_entry "import ${PACKAGE}; print(${EXPRESSION})")
  if(prefix_path_entry)
    list(APPEND CMAKE_PREFIX_PATH "${prefix_path_entry}")
  endif()
endmacro()
