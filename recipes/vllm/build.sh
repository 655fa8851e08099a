#!/usr/bin/env bash
# Build and install vllm into $PREFIX with the compilers and libraries of the recipe's environments.
set -euo pipefail

export MAX_JOBS=${CPU_COUNT:-$(nproc)}
# Two builds of the same sources give the same bytes: no build ids, no path of this build's folders. CMake sets the
# library's run-time paths; those that the compiler's activation adds name this build's folders.
export LDFLAGS="${LDFLAGS//-Wl,-rpath,$PREFIX\/lib/} -Wl,--build-id=none"
export CXXFLAGS="${CXXFLAGS:-} -ffile-prefix-map=$PREFIX=/usr/local -ffile-prefix-map=$BUILD_PREFIX=/usr/local"

"$PYTHON" -m pip install . --no-deps --no-build-isolation -v

for library in "$SP_DIR"/vllm/*.so; do
  "${STRIP:-strip}" --strip-unneeded "$library"
done

# pip's note of where the sources lay, which is nowhere on another machine.
rm -f "$SP_DIR"/vllm-*.dist-info/direct_url.json

# rattler-build writes the entry point, so that it starts whichever Python the package is installed for.
rm -f "$PREFIX/bin/vllm"
