#!/usr/bin/env bash
# A library with every function that cuda.h declares; each says that it is a stub (CUDA_ERROR_STUB_LIBRARY, 34).
set -euo pipefail
"$RECIPE_DIR/unpack_cuda.sh"
mv "$PREFIX/targets" toolkit
stubs="$PREFIX/targets/$CUDA_TARGET/lib/stubs"
mkdir -p "$stubs"
# Headers rename functions to their newest version (cuMemAlloc to cuMemAlloc_v2) unless told not to: both are there.
for renaming in -DCUDA_NEWEST -D__CUDA_API_VERSION_INTERNAL; do
  "$CC" -E -P "$renaming" "toolkit/$CUDA_TARGET/include/cuda.h" -I"toolkit/$CUDA_TARGET/include"
done | grep -oE 'CUresult +cu[A-Z][A-Za-z0-9_]+\(' | grep -oE 'cu[A-Z][A-Za-z0-9_]+' | sort -u > names
test "$(wc -l < names)" -gt 300
sed 's/.*/int &(void) { return 34; }/' names > stub.c
"$CC" -shared -fPIC -O1 -Wl,-soname,libcuda.so.1 stub.c -o "$stubs/libcuda.so"
