#!/usr/bin/env bash
# Move Debian's interpreter, built for /usr, into the environment.
set -euo pipefail
for deb in "$RECIPE_DIR"/inputs/*.deb; do
  dpkg-deb -x "$deb" root
done
library="$PREFIX/lib/python3.11"
mkdir -p "$PREFIX/bin" "$PREFIX/include" "$PREFIX/lib/pkgconfig"
cp -a root/usr/lib/python3.11 "$PREFIX/lib/"
cp -a root/usr/include/python3.11 "$PREFIX/include/"
cp -a root/usr/lib/x86_64-linux-gnu/libpython3.11.so* "$PREFIX/lib/"
cp -a root/usr/lib/x86_64-linux-gnu/pkgconfig/python-3.11*.pc "$PREFIX/lib/pkgconfig/"
cp -a root/usr/bin/python3.11 "$PREFIX/bin/"
# What `python -m venv` gives a new environment.
mkdir -p "$PREFIX/share"
cp -a root/usr/share/python-wheels "$PREFIX/share/"
cp -a root/usr/bin/x86_64-linux-gnu-python3.11-config "$PREFIX/bin/python3.11-config"
for name in python python3; do
  ln -sf python3.11 "$PREFIX/bin/$name"
done
ln -sf python3.11-config "$PREFIX/bin/python3-config"
ln -sf libpython3.11.so.1.0 "$PREFIX/lib/libpython3.11.so"

# Debian's trampoline header finds the real one among several architectures; there is only one here.
cp -f root/usr/include/x86_64-linux-gnu/python3.11/pyconfig.h "$PREFIX/include/python3.11/pyconfig.h"

# Static libraries, self tests and modules whose libraries are not packaged.
rm -rf "$library"/config-*/*.{a,o,so} "$library"/{sitecustomize.py,EXTERNALLY-MANAGED}
rm -f "$library"/lib-dynload/{_dbm,_gdbm,nis,ossaudiodev,_test*,_ctypes_test,_xxtestfuzz,xxlimited*}.*

# site is frozen into both binaries: its folder name is patched there, with one of the same length.
sed -i 's|dist-packages\x00|site-packages\x00|g' "$PREFIX/bin/python3.11" "$PREFIX/lib/libpython3.11.so.1.0"
sed -i "s|dist-packages|site-packages|g" "$library/site.py"
sed -i "s|prefix_scheme = 'posix_local'|prefix_scheme = 'posix_prefix'|" "$library/sysconfig.py"
sed -i -E \
  -e "s#/usr/lib/x86_64-linux-gnu#$PREFIX/lib#g; s#/usr/(include|lib|share/python-wheels)#$PREFIX/\1#g" \
  -e "s#'/usr(/bin)?'#'$PREFIX\1'#g; s#^(prefix=[[:space:]]*)/usr#\1$PREFIX#" \
  -e "s#x86_64-linux-gnu-(gcc|g\+\+)#\1#g" \
  "$library"/_sysconfigdata*.py "$library"/config-*/Makefile "$PREFIX"/lib/pkgconfig/*.pc "$PREFIX/bin/python3.11-config"

# On a machine without certificates the environment's own are trusted.
sed -i "/^        self.set_default_verify_paths()/r /dev/stdin" "$library/ssl.py" <<END
        paths = get_default_verify_paths()
        if not paths.cafile and not paths.capath:
            self.load_verify_locations("$PREFIX/ssl/cacert.pem")
END
grep -q "load_verify_locations(\"$PREFIX" "$library/ssl.py"

"$PREFIX/bin/python3.11" "$RECIPE_DIR/compile_bytecode.py" "$library" "$PREFIX" 3.11

mkdir -p "$library/site-packages"
touch "$library/site-packages/README.txt"
