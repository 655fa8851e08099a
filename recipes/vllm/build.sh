#!/usr/bin/env bash
# Build vllm with the build environment's Python and compilers, against the libraries in $PREFIX, and install it there.
set -euo pipefail

# Two builds of the same sources give the same bytes: no build ids, no path of this build's folders. CMake sets the
# library's run-time paths; those that the compiler's activation adds name this build's folders.
export LDFLAGS="${LDFLAGS:-}"
[[ $(uname) == Darwin ]] || LDFLAGS+=" -Wl,--build-id=none"
LDFLAGS="${LDFLAGS//-Wl,-rpath,$PREFIX\/lib/}"
export CXXFLAGS="${CXXFLAGS:-} -ffile-prefix-map=$PREFIX=/usr/local -ffile-prefix-map=$BUILD_PREFIX=/usr/local"
# conda keeps torch's headers and libraries in the environment's own include/ and lib/.
export CMAKE_ARGS="${CMAKE_ARGS:-} -DVLLM_TORCH_DIR=$PREFIX"
# A compiler cache is asked for, as scripts/build does under SCCACHE_DIR; one that happens to be on PATH is not.
[[ -n ${SCCACHE_SERVER_UDS:-} ]] || CMAKE_ARGS+=" -DVLLM_COMPILER_CACHE=OFF"
# What neither the lane nor the user sets is left to CMake.
for name in VLLM_CPU_BASELINE VLLM_CPU_DISABLE_AVX512 TORCH_CUDA_ARCH_LIST PYTORCH_ROCM_ARCH MAX_JOBS SCCACHE_SERVER_UDS; do
  [[ -n ${!name:-} ]] || unset "$name"
done

# Bytecode is for one Python, the packages are for every.
"$BUILD_PREFIX/bin/python" -m pip install . --no-deps --no-build-isolation --no-compile -v --target "$SP_DIR"

# What an installation without kernels calls itself (vllm/kernels).
echo "$VLLM_TARGET_DEVICE" > "$SP_DIR/vllm/target_device"

# Apple's linker signs a library, which stripping it afterwards would undo.
[[ $(uname) == Darwin ]] || find "$SP_DIR/vllm" -name '*.so' -exec "${STRIP:-strip}" --strip-unneeded {} +

# pip's note of where the sources lay, which is nowhere on another machine. The command is written on installation, to
# start whichever Python that is for. RECORD must not list them, nor libraries as they were before they were stripped,
# nor those in folders of their own, which are other packages'.
rm -rf "$SP_DIR"/vllm-*.dist-info/direct_url.json "${SP_DIR:?}/bin"
sed -i.old -e '/direct_url\.json,/d' -e '/bin\/vllm,/d' -e '/^vllm\/[^/,]*\/[^/,]*\.so,/d' -e 's/\(\.so\),sha256=.*/\1,,/' "$SP_DIR"/vllm-*.dist-info/RECORD
rm "$SP_DIR"/vllm-*.dist-info/RECORD.old

# rattler-build copies this folder for every package that takes files from this build: what none of them needs is gone.
find . -type f ! -name 'LICENSE*' ! -name 'compile_record.jsonl' ! -name 'conda_build*' ! -name 'build_env.sh' -delete
find . -type d -empty -delete
