#!/usr/bin/env bash
set -euo pipefail
for deb in "$RECIPE_DIR"/inputs/*.deb; do
  dpkg-deb -x "$deb" root
done
llvm="$PREFIX/lib/llvm-19"
mkdir -p "$PREFIX/bin" "$llvm/bin" "$llvm/lib" "$PREFIX/amdgcn"
for tool in clang-19 clang clang++ clang-offload-bundler clang-offload-packager clang-linker-wrapper ld.lld lld; do
  cp -a "root/usr/lib/llvm-19/bin/$tool" "$llvm/bin/"
done
[ -e "$llvm/bin/clang-19" ] && [ ! -L "$llvm/bin/clang-19" ] || cp -L root/usr/lib/llvm-19/bin/clang-19 "$llvm/bin/clang-19"
cp -aL root/usr/lib/llvm-19/lib/clang "$llvm/lib/"
cp -a root/usr/lib/x86_64-linux-gnu/lib*.so* "$llvm/lib/"
# Debian keeps a few libraries in /lib.
if [ -d root/lib/x86_64-linux-gnu ]; then
  cp -a root/lib/x86_64-linux-gnu/lib*.so* "$llvm/lib/"
fi
cp -a root/usr/lib/x86_64-linux-gnu/amdgcn/bitcode "$PREFIX/amdgcn/"
# The compiler's libraries lie in a folder of its own, and programs that it starts find them there, too.
for tool in clang clang++; do
  cat > "$PREFIX/bin/$tool" <<END
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")
LD_LIBRARY_PATH="\$here/../lib/llvm-19/lib:\$here/../lib" exec "\$here/../lib/llvm-19/bin/$tool" "\$@"
END
  chmod 755 "$PREFIX/bin/$tool"
done
# What the device libraries know a GPU by: major * 1000 + minor * 100 + stepping, as LLVM's AMDGPU usage gives them.
for isa in 942:9402 1100:11000 1101:11001 1102:11002 1150:11500 1151:11501 1200:12000 1201:12001; do
  {
    echo 'extern const __constant int __oclc_ISA_version;'
    echo "const __constant int __oclc_ISA_version = ${isa#*:};"
  } > isa.cl
  # These need nothing of the environment, only the libraries of this package and of the machine.
  LD_LIBRARY_PATH="$llvm/lib:$BUILD_PREFIX/lib" "$llvm/bin/clang" -x cl -target amdgcn-amd-amdhsa -nogpulib \
    -emit-llvm -c isa.cl -o "$PREFIX/amdgcn/bitcode/oclc_isa_version_${isa%:*}.bc"
done
mkdir -p "$PREFIX/etc/conda/activate.d"
cp "$RECIPE_DIR/activate.sh" "$PREFIX/etc/conda/activate.d/~hipcc_activate.sh"
