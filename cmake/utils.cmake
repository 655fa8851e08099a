# Functions that CMakeLists.txt and the lists of extensions are written with, a file a concern.
include(${CMAKE_CURRENT_LIST_DIR}/target_device.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/python.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/torch.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/cpu_features.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/gpu_architectures.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/hip.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/cutlass.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/extension_target.cmake)
