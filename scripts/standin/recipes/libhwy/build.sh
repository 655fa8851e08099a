#!/usr/bin/env bash
set -euo pipefail
tar -xzf "$RECIPE_DIR"/inputs/numpy-*.tar.gz --strip-components=1 --wildcards '*/numpy/_core/src/highway/*'
# shellcheck disable=SC2086  # CMAKE_ARGS is a list of words
cmake -S numpy/_core/src/highway -B build -G Ninja ${CMAKE_ARGS:-} -DCMAKE_INSTALL_PREFIX="$PREFIX" \
  -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DBUILD_TESTING=OFF \
  -DHWY_ENABLE_TESTS=OFF -DHWY_ENABLE_EXAMPLES=OFF -DHWY_ENABLE_CONTRIB=OFF
cmake --build build
cmake --install build
# The contrib folder's inline functions (math, dot products) need no library.
(cd numpy/_core/src/highway && find hwy/contrib -name '*-inl.h' -exec install -D -m 644 {} "$PREFIX/include/{}" \;)
