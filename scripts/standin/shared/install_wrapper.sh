#!/bin/bash
# install_wrapper.sh TOOL NAME ...: put x86_64-conda-linux-gnu-NAME for Debian's TOOL into the environment. Debian's
# compilers have the sysroot `/` compiled in: the wrapper gives them the environment's own.
set -euo pipefail
tool="$1"
shift
for name in "$@"; do
  wrapper="$PREFIX/bin/x86_64-conda-linux-gnu-$name"
  cat > "$wrapper" <<END
#!/bin/sh
bin=\$(dirname "\$(readlink -f "\$0")")
exec "\$bin/x86_64-linux-gnu-$tool-12" --sysroot="\$bin/../x86_64-conda-linux-gnu/sysroot" "\$@"
END
  chmod 755 "$wrapper"
done
