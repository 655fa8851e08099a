#include "device/flash_tile.h"

namespace vllm::device {
namespace {

// Fits every GPU's shared memory.
template <int kHeadSize>
using SmallShape = FlashShape<kHeadSize, (kHeadSize > 128 ? 2 : 4), 32, 1>;

}  // namespace

void RunFlashAttention(const FlashAttention& a) { DispatchFlash<SmallShape>(a); }

}  // namespace vllm::device
