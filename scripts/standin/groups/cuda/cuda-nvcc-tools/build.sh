#!/usr/bin/env bash
set -euo pipefail
"$RECIPE_DIR/unpack_cuda.sh"
# What compiled code includes is the same for each machine. cicc needs no libnvvm: that is for programs that compile at
# run time.
mv "$PREFIX/targets/x86_64-linux/include" headers
rm -rf "$PREFIX/targets" headers/nvvm.h
for machine in x86_64-linux sbsa-linux; do
  mkdir -p "$PREFIX/targets/$machine"
  cp -r headers "$PREFIX/targets/$machine/include"
done
chmod 755 "$PREFIX"/bin/* "$PREFIX"/nvvm/bin/*
# Some versions of the wheel look for headers and libraries right beside bin/, where a wheel has them.
# shellcheck disable=SC2016  # variables of the profile's own
sed -i -E 's#\$\(TOP\)(/\$\(_TARGET_DIR_\))?/(include|lib)(\$\(_TARGET_SIZE_\))?([/"])#$(TOP)/$(_TARGET_DIR_)/\2\4#g' \
  "$PREFIX/bin/nvcc.profile"
