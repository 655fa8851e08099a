#!/bin/bash
# install_wrapper.sh TOOL NAME ...: put CONDA_TRIPLE-NAME for Debian's TOOL into the environment. Debian's compilers have
# the sysroot `/` compiled in: the wrapper gives them the environment's own.
set -euo pipefail
debian="${DEBIAN_TRIPLE:-x86_64-linux-gnu}"
conda="${CONDA_TRIPLE:-x86_64-conda-linux-gnu}"
tool="$1"
shift
for name in "$@"; do
  wrapper="$PREFIX/bin/$conda-$name"
  cat > "$wrapper" <<END
#!/bin/sh
bin=\$(dirname "\$(readlink -f "\$0")")
exec "\$bin/$debian-$tool-12" --sysroot="\$bin/../$conda/sysroot" "\$@"
END
  chmod 755 "$wrapper"
done
