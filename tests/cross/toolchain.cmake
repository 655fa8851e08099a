# CMake toolchain of a cross compiler that was unpacked into a folder of its own.
#
#   VLLM_CROSS_ROOT       that folder, with usr/bin/<triplet>-g++-12
#   VLLM_CROSS_TRIPLET    e.g. aarch64-linux-gnu
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES VLLM_CROSS_ROOT VLLM_CROSS_TRIPLET)
set(CMAKE_SYSTEM_NAME Linux)
string(REGEX REPLACE "-.*" "" CMAKE_SYSTEM_PROCESSOR "${VLLM_CROSS_TRIPLET}")
string(REPLACE "powerpc64le" "ppc64le" CMAKE_SYSTEM_PROCESSOR "${CMAKE_SYSTEM_PROCESSOR}")
set(CMAKE_CXX_COMPILER "${VLLM_CROSS_ROOT}/bin/${VLLM_CROSS_TRIPLET}-g++")
