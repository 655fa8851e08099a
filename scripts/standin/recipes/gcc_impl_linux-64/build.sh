#!/usr/bin/env bash
set -euo pipefail
for deb in "$RECIPE_DIR"/inputs/*.deb; do
  dpkg-deb -x "$deb" root
done
mkdir -p "$PREFIX/bin" "$PREFIX/lib/gcc/x86_64-linux-gnu" "$PREFIX/lib/x86_64-linux-gnu"
cp -a root/usr/lib/gcc/x86_64-linux-gnu/12 "$PREFIX/lib/gcc/x86_64-linux-gnu/"
cp -a root/usr/lib/x86_64-linux-gnu/lib*.so* "$PREFIX/lib/x86_64-linux-gnu/"
cp -a root/usr/bin/x86_64-linux-gnu-{gcc,cpp,gcc-ar,gcc-nm,gcc-ranlib}-12 "$PREFIX/bin/"
compiler="$PREFIX/lib/gcc/x86_64-linux-gnu/12"
# Sanitizers and transactional memory have no run-time package here.
rm -rf "$compiler"/lib{asan,tsan,lsan,ubsan,itm,quadmath,cc1}* "$compiler/plugin" "$PREFIX/lib/x86_64-linux-gnu"/libcc1*
# The shared run-time libraries lie in the environment's lib/, not under Debian's x86_64-linux-gnu.
for library in libgomp.so.1 libatomic.so.1; do
  ln -sfn "../../../$library" "$compiler/${library%.1}"
done
sed -i 's|libgcc_s.so.1|../../../libgcc_s.so.1|' "$compiler/libgcc_s.so"
"$RECIPE_DIR/install_wrapper.sh" gcc gcc cc
for tool in gcc-ar gcc-nm gcc-ranlib; do
  ln -s "x86_64-linux-gnu-$tool-12" "$PREFIX/bin/x86_64-conda-linux-gnu-$tool"
done
"$RECIPE_DIR/install_wrapper.sh" cpp cpp
