#!/usr/bin/env bash
set -euo pipefail
for deb in "$RECIPE_DIR"/inputs/*.deb; do
  dpkg-deb -x "$deb" root
done
compiler="$PREFIX/lib/gcc/x86_64-linux-gnu/12"
mkdir -p "$PREFIX/bin" "$PREFIX/include/x86_64-linux-gnu" "$compiler"
cp -a root/usr/lib/gcc/x86_64-linux-gnu/12/. "$compiler/"
cp -a root/usr/bin/x86_64-linux-gnu-g++-12 "$PREFIX/bin/"
cp -a root/usr/include/c++ "$PREFIX/include/"
cp -a root/usr/include/x86_64-linux-gnu/c++ "$PREFIX/include/x86_64-linux-gnu/"
ln -sfn ../../../libstdc++.so.6 "$compiler/libstdc++.so"
"$RECIPE_DIR/install_wrapper.sh" g++ g++ c++
