#include "device/flash_tile.h"

namespace vllm::device {
namespace {

template <int kHeadSize>
using PipelinedShape =
    FlashShape<kHeadSize, (kHeadSize > 128 ? 4 : 8), (kHeadSize > 128 ? 32 : 64), 2>;

}  // namespace

void RunPipelinedFlashAttention(const FlashAttention& a) { DispatchFlash<PipelinedShape>(a); }

}  // namespace vllm::device
