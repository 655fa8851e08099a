#!/usr/bin/env bash
# conda-forge keeps torch's libraries and headers in the environment's own lib/ and include/.
set -euo pipefail
python3 "$RECIPE_DIR/unpack_wheel.py" "$RECIPE_DIR"/inputs/*.whl root \
  'torch/lib/*.so*' '!torch/lib/libtorch_python.so' '!torch/lib/libgomp*' \
  'torch/include/*' 'torch/share/*' 'torch/bin/torch_shm_manager'
mkdir -p "$PREFIX/lib" "$PREFIX/include" "$PREFIX/bin"
mv root/torch/lib/*.so* "$PREFIX/lib/"
mv root/torch/include/{ATen,c10,caffe2,torch} "$PREFIX/include/"
mv root/torch/share "$PREFIX/"
mv root/torch/bin/torch_shm_manager "$PREFIX/bin/"
