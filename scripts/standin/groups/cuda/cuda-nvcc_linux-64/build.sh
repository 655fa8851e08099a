#!/usr/bin/env bash
set -euo pipefail
"$RECIPE_DIR/unpack_cuda.sh"
mkdir -p "$PREFIX/etc/conda/activate.d"
# After gxx_linux-64's script, which sets CXX: scripts are read in the order of their names.
sed "s/@TARGET@/x86_64-linux/g" "$RECIPE_DIR/activate_nvcc.sh" > "$PREFIX/etc/conda/activate.d/~cuda-nvcc_activate.sh"
