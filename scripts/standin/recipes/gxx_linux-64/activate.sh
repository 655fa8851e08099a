# shellcheck shell=sh
# The variables that conda-forge's gxx_linux-64 sets; gcc_linux-64's script has run before this one.
export CXX="${CC%-cc}-c++" GXX="${CC%-cc}-g++"
# shellcheck disable=SC2153  # gcc_linux-64 sets CFLAGS
export CXXFLAGS="-fvisibility-inlines-hidden -fmessage-length=0 $CFLAGS${CXXFLAGS:+ $CXXFLAGS}"
