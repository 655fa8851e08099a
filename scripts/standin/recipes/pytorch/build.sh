#!/usr/bin/env bash
# torch's Python files. What libtorch holds is linked into the places where the wheel has it.
set -euo pipefail
site="$PREFIX/lib/python3.11/site-packages"
python "$RECIPE_DIR/unpack_wheel.py" "$RECIPE_DIR"/inputs/*.whl "$site" \
  '*' '!torch/test/*' '!torch/bin/*' '!torch/share/*' '!torch/lib/*' 'torch/lib/libtorch_python.so' \
  '!torch/include/ATen/*' '!torch/include/c10/*' '!torch/include/caffe2/*' '!torch/include/torch/*'
mv "$site/torch/lib/libtorch_python.so" "$PREFIX/lib/"
mkdir -p "$site/torch/bin"
ln -s ../../../../../bin/torch_shm_manager "$site/torch/bin/torch_shm_manager"
ln -s ../../../../share "$site/torch/share"
for library in "$PREFIX"/lib/lib{c10,shm,torch}*.so; do
  ln -s "../../../../$(basename "$library")" "$site/torch/lib/"
done
# One OpenMP run-time library for the whole environment.
ln -s ../../../../libgomp.so.1 "$site/torch/lib/libgomp.so.1"
for folder in ATen c10 caffe2 torch; do
  ln -s "../../../../../include/$folder" "$site/torch/include/$folder"
done
python "$RECIPE_DIR/compile_bytecode.py" "$site" "$PREFIX" 3.11
