# Extension modules: NAME.abi3.so over torch's stable ABI, without libpython, for every Python and every torch >= 2.10.

set(_one_value DESTINATION LANGUAGE)
set(_many_values SOURCES DEVICE_SOURCES ARCHITECTURES LIBRARIES DEFINITIONS INCLUDE_DIRECTORIES)

# define_extension_target(NAME DESTINATION dir [LANGUAGE CXX|CUDA|HIP] SOURCES ... [DEVICE_SOURCES ...]
#                         [ARCHITECTURES ...] [LIBRARIES ...] [DEFINITIONS ...] [INCLUDE_DIRECTORIES ...])
# SOURCES are C++. DEVICE_SOURCES are compiled as LANGUAGE for ARCHITECTURES (default: VLLM_GPU_ARCHS, all that the build is
# for), or for what set_gencode_flags_for_srcs gave to the source. The module is installed into DESTINATION of the package.
function(define_extension_target NAME)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "${_one_value}" "${_many_values}")
  if(NOT arg_DESTINATION)
    message(FATAL_ERROR "define_extension_target(${NAME}): DESTINATION is required")
  endif()
  _add_compiled_target(${NAME} MODULE ${ARGN})
  _set_module_properties(${NAME} ${arg_DESTINATION} "${arg_LIBRARIES}")
  install(TARGETS ${NAME} LIBRARY DESTINATION ${arg_DESTINATION} COMPONENT ${NAME})
endfunction()

# define_shared_objects(NAME [LANGUAGE ...] SOURCES ... [DEVICE_SOURCES ...] ...)
# What several modules have, compiled once: each that names NAME among its LIBRARIES takes those objects that it refers to.
function(define_shared_objects NAME)
  _add_compiled_target(${NAME} STATIC ${ARGN})
  set_target_properties(${NAME} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

# Adds a MODULE or STATIC library with the sources and options of define_extension_target.
function(_add_compiled_target NAME TYPE)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "${_one_value}" "${_many_values}")
  if(NOT arg_LANGUAGE)
    set(arg_LANGUAGE CXX)
  endif()
  if(NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${NAME}: SOURCES are required; unknown arguments: '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT arg_LANGUAGE MATCHES "^(CXX|CUDA|HIP)$" OR (arg_LANGUAGE STREQUAL "CXX" AND arg_DEVICE_SOURCES))
    message(FATAL_ERROR "${NAME}: LANGUAGE is '${arg_LANGUAGE}', it must be CXX, CUDA or HIP, "
      "and CUDA or HIP where there are DEVICE_SOURCES")
  endif()
  if(NOT arg_ARCHITECTURES)
    set(arg_ARCHITECTURES ${VLLM_GPU_ARCHS})
  endif()
  list(PREPEND arg_INCLUDE_DIRECTORIES ${PROJECT_SOURCE_DIR}/csrc)

  add_library(${NAME} ${TYPE} ${arg_SOURCES})
  target_include_directories(${NAME} PRIVATE ${arg_INCLUDE_DIRECTORIES})
  target_compile_features(${NAME} PRIVATE cxx_std_17)
  target_compile_definitions(${NAME} PRIVATE ${arg_DEFINITIONS})
  target_link_libraries(${NAME} PRIVATE torch::stable ${arg_LIBRARIES})
  if(arg_LANGUAGE STREQUAL "CUDA")
    _add_cuda_sources(${NAME} "${arg_DEVICE_SOURCES}" "${arg_ARCHITECTURES}")
  elseif(arg_LANGUAGE STREQUAL "HIP")
    compile_hip_sources(objects ${NAME} SOURCES ${arg_DEVICE_SOURCES} ARCHITECTURES ${arg_ARCHITECTURES}
      DEFINITIONS ${arg_DEFINITIONS} INCLUDE_DIRECTORIES ${arg_INCLUDE_DIRECTORIES})
    target_sources(${NAME} PRIVATE ${objects})
    # torch's HIP build keeps CUDA's names in the stable ABI.
    target_compile_definitions(${NAME} PRIVATE USE_CUDA USE_ROCM)
    target_link_libraries(${NAME} PRIVATE torch::device vllm::hip_runtime)
  endif()
  _set_compile_options(${NAME})
  set_target_properties(${NAME} PROPERTIES
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
endfunction()

function(_add_cuda_sources NAME SOURCES ARCHITECTURES)
  foreach(source IN LISTS SOURCES)
    get_property(archs SOURCE ${source} PROPERTY VLLM_GPU_ARCHS)
    if(NOT archs)
      set_gencode_flags_for_srcs(SRCS ${source} CUDA_ARCHS ${ARCHITECTURES})
    endif()
  endforeach()
  get_torch_gpu_compiler_flags(flags CUDA)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    list(APPEND flags --compress-mode=size)
  endif()
  if(NVCC_THREADS)
    list(APPEND flags --threads=${NVCC_THREADS})
  endif()
  target_sources(${NAME} PRIVATE ${SOURCES})
  target_compile_features(${NAME} PRIVATE cuda_std_17)
  target_compile_definitions(${NAME} PRIVATE USE_CUDA)
  target_compile_options(${NAME} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${flags}>")
  target_link_libraries(${NAME} PRIVATE torch::device)
  # torch has the runtime loaded already: a second copy would only add its size.
  set_target_properties(${NAME} PROPERTIES CUDA_RUNTIME_LIBRARY Shared)
endfunction()

# No build id, no absolute path: two builds of the same sources are the same bytes. All C++ is compiled for the same CPU.
function(_set_compile_options NAME)
  set(map "-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=")
  target_compile_options(${NAME} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;${map};${VLLM_CPU_OPTIONS}>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,${map}>")
  if(NOT APPLE)
    target_link_options(${NAME} PRIVATE -Wl,--build-id=none -Wl,--no-undefined
      "$<$<OR:$<CONFIG:Release>,$<CONFIG:MinSizeRel>>:-Wl,-s>")
  endif()
endfunction()

# Its libraries are beside pip's torch or in a conda environment's lib/ (DESTINATION lies in
# lib/pythonX.Y/site-packages). Those found elsewhere keep their folder, except where conda relocates the package.
function(_set_module_properties NAME DESTINATION LIBRARIES)
  set(origin "$ORIGIN")
  if(APPLE)
    set(origin "@loader_path")
  endif()
  file(RELATIVE_PATH site_packages "/${DESTINATION}" "/")
  set(rpath "${origin}/${site_packages}torch/lib" "${origin}/${site_packages}../..")
  if(NOT DEFINED ENV{CONDA_BUILD})
    foreach(library IN LISTS LIBRARIES)
      get_target_property(type ${library} TYPE)
      if(type STREQUAL "SHARED_LIBRARY")
        list(APPEND rpath "$<TARGET_FILE_DIR:${library}>")
      endif()
    endforeach()
  endif()
  set_target_properties(${NAME} PROPERTIES
    PREFIX "" SUFFIX ".abi3.so"
    BUILD_WITH_INSTALL_RPATH ON
    INSTALL_RPATH "${rpath}")
endfunction()
