#!/usr/bin/env bash
set -euo pipefail
"$RECIPE_DIR/unpack_cuda.sh"
# cicc needs no libnvvm: that library is for programs that compile at run time.
rm -f "$PREFIX"/targets/x86_64-linux/lib/libnvvm.so* "$PREFIX/targets/x86_64-linux/include/nvvm.h"
chmod 755 "$PREFIX"/bin/* "$PREFIX"/nvvm/bin/*
# Some versions of the wheel look for headers and libraries right beside bin/, where a wheel has them.
sed -i -E 's#\$\(TOP\)(/\$\(_TARGET_DIR_\))?/(include|lib)(\$\(_TARGET_SIZE_\))?([/"])#$(TOP)/targets/x86_64-linux/\2\4#g' \
  "$PREFIX/bin/nvcc.profile"
mkdir -p "$PREFIX/etc/conda/activate.d"
# After gxx_linux-64's script, which sets CXX: scripts are read in the order of their names.
cp "$RECIPE_DIR/activate.sh" "$PREFIX/etc/conda/activate.d/~cuda-nvcc_activate.sh"
