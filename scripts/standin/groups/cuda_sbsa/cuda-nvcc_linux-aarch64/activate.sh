# shellcheck shell=sh
# The variables that conda-forge's cuda-nvcc_linux-aarch64 sets: the host compiler, the machine, and the folders of CUDA's
# headers and libraries in the environment that is compiled against.
export NVCC_PREPEND_FLAGS="-ccbin=$CXX -target-dir=sbsa-linux${NVCC_PREPEND_FLAGS:+ $NVCC_PREPEND_FLAGS}"
export CUDAHOSTCXX="$CXX"
_target="${CONDA_PREFIX:-}"
if [ "${CONDA_BUILD:-0}" = "1" ]; then
  _target="${PREFIX:-$_target}"
fi
export CFLAGS="${CFLAGS:+$CFLAGS }-I$_target/targets/sbsa-linux/include"
export CPPFLAGS="${CPPFLAGS:+$CPPFLAGS }-I$_target/targets/sbsa-linux/include"
export CXXFLAGS="${CXXFLAGS:+$CXXFLAGS }-I$_target/targets/sbsa-linux/include"
export LDFLAGS="${LDFLAGS:+$LDFLAGS }-L$_target/targets/sbsa-linux/lib -L$_target/targets/sbsa-linux/lib/stubs"
unset _target
