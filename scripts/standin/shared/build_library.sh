#!/usr/bin/env bash
# Unpack this recipe's debs and keep what a library needs at run time.
set -euo pipefail
for deb in "$RECIPE_DIR"/inputs/*.deb; do
  dpkg-deb -x "$deb" root
done
mkdir -p "$PREFIX/lib"
for folder in root/lib/x86_64-linux-gnu root/usr/lib/x86_64-linux-gnu; do
  if [ -d "$folder" ]; then
    cp -a "$folder/." "$PREFIX/lib/"
  fi
done
for folder in root/lib/terminfo root/usr/share/terminfo; do
  if [ -d "$folder" ]; then
    mkdir -p "$PREFIX/share/terminfo"
    cp -a "$folder/." "$PREFIX/share/terminfo/"
  fi
done
