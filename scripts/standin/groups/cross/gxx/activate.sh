# shellcheck shell=sh
# The variables that conda-forge's C++ compiler sets; the C compiler's script has run before this one.
export CXX="${CC%-cc}-c++" GXX="${CC%-cc}-g++"
# shellcheck disable=SC2153  # the C compiler's script sets CFLAGS
export CXXFLAGS="-fvisibility-inlines-hidden -fmessage-length=0 $CFLAGS${CXXFLAGS:+ $CXXFLAGS}"
