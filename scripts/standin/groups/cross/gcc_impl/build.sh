#!/usr/bin/env bash
set -euo pipefail
for deb in "$RECIPE_DIR"/inputs/*.deb; do
  dpkg-deb -x "$deb" root
done
triple="$DEBIAN_TRIPLE"
mkdir -p "$PREFIX/bin" "$PREFIX/lib/gcc-cross/$triple" "$PREFIX/lib/x86_64-linux-gnu" "$PREFIX/$triple/bin"
cp -a "root/usr/lib/gcc-cross/$triple/12" "$PREFIX/lib/gcc-cross/$triple/"
cp -a root/usr/lib/x86_64-linux-gnu/lib*.so* "$PREFIX/lib/x86_64-linux-gnu/"
cp -a "root/usr/$triple/include" "root/usr/$triple/lib" "$PREFIX/$triple/"
cp -a root/usr/bin/"$triple"-{gcc,g++,cpp,gcc-ar,gcc-nm,gcc-ranlib}-12 "$PREFIX/bin/"
# Sanitizers and transactional memory have no run-time package here.
rm -rf "$PREFIX/lib/gcc-cross/$triple/12"/{lib{asan,hwasan,tsan,lsan,ubsan,itm,quadmath,cc1}*,plugin}
# patchelf breaks cc1 when it adds a run-time path: the compilers proper find their libraries by a script's help.
for program in cc1 cc1plus lto1; do
  path="$PREFIX/lib/gcc-cross/$triple/12/$program"
  mv "$path" "$path.bin"
  cat > "$path" <<END
#!/bin/sh
here=\$(dirname "\$0")
LD_LIBRARY_PATH="\$here/../../../x86_64-linux-gnu:\$here/../../.." exec "\$0.bin" "\$@"
END
  chmod 755 "$path"
done
for tool in addr2line ar as c++filt elfedit ld ld.bfd ld.gold nm objcopy objdump ranlib readelf size strings strip; do
  if [ -e "root/usr/bin/$triple-$tool" ]; then
    cp -a "root/usr/bin/$triple-$tool" "$PREFIX/bin/"
    # conda-forge's name for it, and the place where gcc looks for it.
    ln -s "$triple-$tool" "$PREFIX/bin/$CONDA_TRIPLE-$tool"
    ln -s "../../bin/$triple-$tool" "$PREFIX/$triple/bin/$tool"
  fi
done
"$RECIPE_DIR/install_wrapper.sh" gcc gcc cc
"$RECIPE_DIR/install_wrapper.sh" g++ g++ c++
"$RECIPE_DIR/install_wrapper.sh" cpp cpp
for tool in gcc-ar gcc-nm gcc-ranlib; do
  ln -s "$triple-$tool-12" "$PREFIX/bin/$CONDA_TRIPLE-$tool"
done
