// tensor.cpp tells the recording of CPU kernels about ops; the emulated ops take no part in it.
#include "bindings/recording.h"

namespace vllm {
thread_local Recording* current_recording = nullptr;
}
