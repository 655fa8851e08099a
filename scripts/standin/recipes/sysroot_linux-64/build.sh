#!/usr/bin/env bash
set -euo pipefail
for deb in "$RECIPE_DIR"/inputs/*.deb; do
  dpkg-deb -x "$deb" root
done
sysroot="$PREFIX/x86_64-conda-linux-gnu/sysroot"
mkdir -p "$sysroot/usr/lib/x86_64-linux-gnu"
cp -a root/usr/include "$sysroot/usr/"
cp -a root/usr/lib/x86_64-linux-gnu/. root/lib/x86_64-linux-gnu/. "$sysroot/usr/lib/x86_64-linux-gnu/"
cp -a root/lib64 "$sysroot/"
# Debian's merged /usr: libc.so, a linker script, names /lib/x86_64-linux-gnu.
ln -s usr/lib "$sysroot/lib"
# Conversion modules and static libraries are of no use to a compiler here.
rm -rf "$sysroot"/usr/lib/x86_64-linux-gnu/{gconv,audit}
# Absolute links would point outside the sysroot.
find "$sysroot" -type l -lname '/*' | while read -r link; do
  ln -sfnr "$sysroot$(readlink "$link")" "$link"
done
