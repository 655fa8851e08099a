#!/usr/bin/env bash
set -euo pipefail
for deb in "$RECIPE_DIR"/inputs/*.deb; do
  dpkg-deb -x "$deb" root
done
libraries="$PREFIX/lib/x86_64-linux-gnu"
mkdir -p "$PREFIX/bin" "$libraries" "$PREFIX/x86_64-linux-gnu/bin"
cp -a root/usr/lib/x86_64-linux-gnu/lib*.so* "$libraries/"
rm -f "$libraries"/libgprofng*
for tool in addr2line ar as c++filt elfedit ld ld.bfd ld.gold nm objcopy objdump ranlib readelf size strings strip; do
  cp -a "root/usr/bin/x86_64-linux-gnu-$tool" "$PREFIX/bin/"
  # conda-forge's name for it, and the place where gcc looks for it.
  ln -s "x86_64-linux-gnu-$tool" "$PREFIX/bin/x86_64-conda-linux-gnu-$tool"
  ln -s "../../bin/x86_64-linux-gnu-$tool" "$PREFIX/x86_64-linux-gnu/bin/$tool"
done
