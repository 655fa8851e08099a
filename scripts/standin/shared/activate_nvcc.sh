# shellcheck shell=sh
# The variables that conda-forge's cuda-nvcc_linux-* set: the host compiler, the machine (which the
# package fills in), and the folders of CUDA's headers and libraries in the environment that is compiled against.
export NVCC_PREPEND_FLAGS="-ccbin=$CXX -target-dir=@TARGET@${NVCC_PREPEND_FLAGS:+ $NVCC_PREPEND_FLAGS}"
export CUDAHOSTCXX="$CXX"
_target="${CONDA_PREFIX:-}"
if [ "${CONDA_BUILD:-0}" = "1" ]; then
  _target="${PREFIX:-$_target}"
fi
_target="$_target/targets/@TARGET@"
export CFLAGS="${CFLAGS:+$CFLAGS }-I$_target/include"
export CPPFLAGS="${CPPFLAGS:+$CPPFLAGS }-I$_target/include"
export CXXFLAGS="${CXXFLAGS:+$CXXFLAGS }-I$_target/include"
export LDFLAGS="${LDFLAGS:+$LDFLAGS }-L$_target/lib -L$_target/lib/stubs"
unset _target
