#!/usr/bin/env bash
set -euo pipefail
for deb in "$RECIPE_DIR"/inputs/*.deb; do
  dpkg-deb -x "$deb" root
done
sysroot="$PREFIX/$MACHINE-conda-linux-gnu/sysroot"
mkdir -p "$sysroot/usr"
cp -a "root/usr/$MACHINE-linux-gnu/include" "root/usr/$MACHINE-linux-gnu/lib" "$sysroot/usr/"
for name in lib lib64; do
  ln -s usr/lib "$sysroot/$name"
done
ln -s lib "$sysroot/usr/lib64"
# Linker scripts name files where Debian has them.
grep -lI "/usr/$MACHINE-linux-gnu/lib" "$sysroot"/usr/lib/*.{so,a} \
  | xargs sed -i -E "s,/usr/$MACHINE-linux-gnu/lib(64)?/,/usr/lib/,g"
