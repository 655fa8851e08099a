#!/usr/bin/env bash
# Lay NVIDIA's wheels out as conda-forge lays CUDA out: programs in the environment's bin/ and nvvm/, what is compiled
# and linked against in targets/PLATFORM/.
set -euo pipefail
target="$PREFIX/targets/${CUDA_TARGET:-x86_64-linux}"
mkdir -p "$target" "$PREFIX/bin" "$PREFIX/lib"
for wheel in "$RECIPE_DIR"/inputs/*.whl; do
  python3 -m zipfile -e "$wheel" root
done
for folder in include lib; do
  if [ -d "root/nvidia/cu13/$folder" ]; then
    cp -r "root/nvidia/cu13/$folder" "$target/"
  fi
done
for folder in bin nvvm; do
  if [ -d "root/nvidia/cu13/$folder" ]; then
    cp -r "root/nvidia/cu13/$folder" "$PREFIX/"
  fi
done
