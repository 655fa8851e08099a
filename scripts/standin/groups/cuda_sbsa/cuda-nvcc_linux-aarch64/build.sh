#!/usr/bin/env bash
set -euo pipefail
CUDA_TARGET=sbsa-linux "$RECIPE_DIR/unpack_cuda.sh"
ln -s libcudart.so.13 "$PREFIX/targets/sbsa-linux/lib/libcudart.so"
mkdir -p "$PREFIX/etc/conda/activate.d"
# After gxx_linux-aarch64's script, which sets CXX: scripts are read in the order of their names.
sed "s/@TARGET@/sbsa-linux/g" "$RECIPE_DIR/activate_nvcc.sh" > "$PREFIX/etc/conda/activate.d/~cuda-nvcc_activate.sh"
