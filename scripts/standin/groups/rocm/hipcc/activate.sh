# shellcheck shell=sh
# Where clang finds its device libraries, HIP's headers, and the C++ library of the environment's gcc.
_tools="$CONDA_PREFIX"
_target="$CONDA_PREFIX"
if [ "${CONDA_BUILD:-0}" = "1" ]; then
  _tools="${BUILD_PREFIX:-$CONDA_PREFIX}"
  _target="${PREFIX:-$CONDA_PREFIX}"
fi
export HIPFLAGS="--rocm-path=$_target --rocm-device-lib-path=$_tools/amdgcn/bitcode\
 --gcc-install-dir=$_tools/lib/gcc/x86_64-linux-gnu/12 --sysroot=$_tools/x86_64-conda-linux-gnu/sysroot\
 -isystem $_target/include"
unset _tools _target
