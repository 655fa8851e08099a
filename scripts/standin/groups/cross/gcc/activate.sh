# shellcheck shell=sh
# The variables that conda-forge's compiler for another machine sets. In a package build the tools lie in BUILD_PREFIX
# and what is compiled against in PREFIX; elsewhere both are the environment itself.
_machine="@MACHINE@"
_tools="$CONDA_PREFIX"
_target="$CONDA_PREFIX"
_lists=""
if [ "${CONDA_BUILD:-0}" = "1" ]; then
  _tools="${BUILD_PREFIX:-$CONDA_PREFIX}"
  _target="${PREFIX:-$CONDA_PREFIX}"
  _lists=" -fdebug-prefix-map=$SRC_DIR=/usr/local/src/conda/$PKG_NAME-$PKG_VERSION"
fi
export HOST="$_machine-conda-linux-gnu" BUILD=x86_64-conda-linux-gnu
export CONDA_TOOLCHAIN_HOST=$HOST CONDA_TOOLCHAIN_BUILD=$BUILD
export CONDA_BUILD_CROSS_COMPILATION=1
export CONDA_BUILD_SYSROOT="$_tools/$HOST/sysroot"
export CC="$_tools/bin/$HOST-cc" GCC="$_tools/bin/$HOST-gcc" CPP="$_tools/bin/$HOST-cpp"
for _tool in addr2line ar as elfedit ld nm objcopy objdump ranlib readelf size strings strip; do
  export "$(echo "$_tool" | tr '[:lower:]' '[:upper:]')=$_tools/bin/$HOST-$_tool"
done
export GCC_AR="$_tools/bin/$HOST-gcc-ar" GCC_NM="$_tools/bin/$HOST-gcc-nm" GCC_RANLIB="$_tools/bin/$HOST-gcc-ranlib"
export CFLAGS="-ftree-vectorize -fPIC -fstack-protector-strong -O2 -ffunction-sections -pipe -isystem $_target/include\
$_lists${CFLAGS:+ $CFLAGS}"
export CPPFLAGS="-DNDEBUG -D_FORTIFY_SOURCE=2 -O2 -isystem $_target/include${CPPFLAGS:+ $CPPFLAGS}"
export LDFLAGS="-Wl,-O2 -Wl,--sort-common -Wl,--as-needed -Wl,-z,relro -Wl,-z,now -Wl,--disable-new-dtags\
 -Wl,--gc-sections -Wl,--allow-shlib-undefined -Wl,-rpath,$_target/lib -Wl,-rpath-link,$_target/lib\
 -L$_target/lib${LDFLAGS:+ $LDFLAGS}"
export CMAKE_PREFIX_PATH="$_target${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
_machine_of_cmake="$(echo "$_machine" | sed 's/powerpc64le/ppc64le/')"
export CMAKE_ARGS="-DCMAKE_AR=$AR -DCMAKE_RANLIB=$RANLIB -DCMAKE_STRIP=$STRIP -DCMAKE_LINKER=$LD\
 -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$_machine_of_cmake -DCMAKE_FIND_ROOT_PATH=$_target;$CONDA_BUILD_SYSROOT\
 -DCMAKE_FIND_ROOT_PATH_MODE_PROGRAM=NEVER -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY\
 -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$_target\
 -DCMAKE_INSTALL_LIBDIR=lib"
unset _machine _machine_of_cmake _tools _target _lists _tool
