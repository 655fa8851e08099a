#!/usr/bin/env bash
# torch as its wheel has it, with CUDA's run-time library, which finds no GPU and says so. Of CUDA's other libraries,
# gigabytes that nothing calls without a GPU, there are stubs.
set -euo pipefail
site="$PREFIX/lib/python3.13/site-packages"
library="$site/torch/lib"
python3 "$RECIPE_DIR/unpack_wheel.py" "$RECIPE_DIR"/inputs/torch-*.whl "$site" \
  '*' '!torch/test/*' '!torch/bin/protoc*' '!torch/include/*' '!torch/share/*' \
  '!torch/lib/libtorch_cuda_linalg.so'
python3 "$RECIPE_DIR/unpack_wheel.py" "$RECIPE_DIR"/inputs/nvidia_cuda_runtime-*.whl cudart '*/libcudart.so.*'
cp cudart/nvidia/cu13/lib/libcudart.so.* "$library/"
# One OpenMP run-time library for the whole environment.
ln -sf ../../../../libgomp.so.1 "$library/libgomp.so.1"

# Each stub has every function that torch asks CUDA's libraries for and that is not there.
functions() {
  nm -D "$1" "$library"/lib*.so* | grep -oE '\b(cu|nccl|nvrtc|nvshmem)[A-Za-z0-9_]+' | sort -u
}
comm -23 <(functions --undefined-only) <(functions --defined-only) | sed 's/.*/int &(void) { return 34; }/' > stubs.c
test "$(wc -l < stubs.c)" -gt 100
readelf -d "$library"/libtorch*.so | grep -oE '\blib(cu|nccl|nv)[A-Za-z_]*\.so\.[0-9]+' | sort -u | while read -r name; do
  [[ ! -e $library/$name ]] || continue
  # Symbols that are asked for with a version, the library's name in most cases, are looked for with it.
  version=$(readelf -V -W "$library"/libtorch*.so |
    awk -v name="$name" '/File:/ {file = $5} /Name:/ && file == name {found = $3} END {print found}')
  echo "${version:-UNVERSIONED} { global: *; };" > version.map
  "$CC" -shared -fPIC -O1 -Wl,-soname,"$name" -Wl,--version-script,version.map stubs.c -o "$library/$name"
done
