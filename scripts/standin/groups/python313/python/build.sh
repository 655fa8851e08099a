#!/usr/bin/env bash
set -euo pipefail
for deb in "$RECIPE_DIR"/inputs/*.deb; do
  dpkg-deb -x "$deb" root
done
tar -xf "$RECIPE_DIR"/inputs/*.orig.tar.* --strip-components=1 --one-top-level=source
# Headers come from Debian's development packages, the libraries themselves from the environment.
headers="$PWD/root/usr/include"
mkdir -p links
for library in bz2 ffi lzma sqlite3 ssl crypto z; do
  found=("$PREFIX/lib/lib$library".so.*)
  ln -s "${found[0]}" "links/lib$library.so"
done
export CPPFLAGS="$CPPFLAGS -I$headers -I$headers/x86_64-linux-gnu" LDFLAGS="-L$PWD/links $LDFLAGS"
export LIBFFI_CFLAGS="-I$headers/x86_64-linux-gnu" LIBFFI_LIBS=-lffi LIBSQLITE3_CFLAGS="-I$headers" LIBSQLITE3_LIBS=-lsqlite3
export ZLIB_CFLAGS="-I$headers" ZLIB_LIBS=-lz BZIP2_CFLAGS="-I$headers" BZIP2_LIBS=-lbz2
export LIBLZMA_CFLAGS="-I$headers" LIBLZMA_LIBS=-llzma PKG_CONFIG=false
mkdir -p "root/openssl"
ln -s "$headers" root/openssl/include
ln -s "$PWD/links" root/openssl/lib
cp -r "$headers/x86_64-linux-gnu/openssl/." "$headers/openssl/"
cd source
./configure --prefix="$PREFIX" --with-ensurepip=no --disable-test-modules --without-static-libpython \
  --with-openssl="$PWD/../root/openssl" --without-readline > configure.log || { tail -30 configure.log; exit 1; }
make -j"${CPU_COUNT:-2}" > make.log 2>&1 || { grep -E 'error|Error' make.log | head; exit 1; }
make install > install.log 2>&1
for name in python python3; do
  ln -sf python3.13 "$PREFIX/bin/$name"
done
find "$PREFIX/lib/python3.13" -name __pycache__ -prune -exec rm -rf {} +
rm -rf "$PREFIX/lib/python3.13"/{idlelib,turtledemo,config-*/libpython*.a}
mkdir -p "$PREFIX/lib/python3.13/site-packages"
touch "$PREFIX/lib/python3.13/site-packages/README.txt"
