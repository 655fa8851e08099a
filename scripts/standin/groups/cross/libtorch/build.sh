#!/usr/bin/env bash
# torch's headers, and a library with the functions of its stable ABI by name alone.
set -euo pipefail
python3 "$RECIPE_DIR/unpack_wheel.py" "$RECIPE_DIR"/inputs/*.whl root \
  'torch/include/torch/*' 'torch/include/c10/*' 'torch/lib/libtorch_cpu.so'
mkdir -p "$PREFIX/lib" "$PREFIX/include"
mv root/torch/include/{torch,c10} "$PREFIX/include/"
# The wheel is for the building machine: only its names are read.
readelf --dyn-syms --wide root/torch/lib/libtorch_cpu.so \
  | awk '$4 == "FUNC" && $7 != "UND" && $8 ~ /^(aoti_torch|torch)_[a-z0-9_]+$/ { print $8 }' | sort -u > names
test "$(wc -l < names)" -gt 100
{ echo 'void abort(void);'; sed 's/.*/void &(void) { abort(); }/' names; } > stub.c
"$CC" -shared -fPIC -O1 -fno-builtin -Wl,-soname,libtorch_cpu.so stub.c -o "$PREFIX/lib/libtorch_cpu.so"
