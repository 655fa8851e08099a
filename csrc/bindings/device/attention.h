// What the bindings of attention share: checks of queries, keys and values, and the kernel's view
// of them.
#pragma once

#include <optional>
#include <utility>

#include "bindings/device/call.h"
#include "device/flash_attention.h"

namespace vllm {

// A contiguous [size] of int32.
const int32_t* Ints(const TensorView& tensor, int64_t size, const char* meaning);

// query is [tokens, heads, head_size].
void CheckHeads(const TensorView& query, int64_t kv_heads);

// Rows that are read in vectors of 8 elements.
void CheckVectors(const TensorView& tensor);

// Block numbers outside the cache read block 0, so there must be one.
void CheckHasSlots(const TensorView& cache);

// out and query are [tokens, heads, head_size], bf16 or f16. No window, no cap, one split.
device::FlashAttention QueryArguments(const DeviceCall& call, const TensorView& out,
                                      const TensorView& query);

// The rest of the arguments that say where keys lie; query and out are set.
void SetPagedKeys(device::FlashAttention& a, const TensorView& query, const TensorView& keys,
                  const TensorView& values, const TensorView& table);
void SetDenseKeys(device::FlashAttention& a, const TensorView& query, const TensorView& keys,
                  const TensorView& values, const TensorView& key_start);

// [heads], or with a row for each sequence.
void SetAlibi(device::FlashAttention& a, const TensorView& slopes);
// [heads, tokens] of f32.
void SetLse(device::FlashAttention& a, const TensorView& lse);

// An option of the op's interface that these kernels do not have; fails where it is given.
void RefuseGiven(const DeviceCall& call,
                 std::initializer_list<std::pair<const char*, bool>> options);

}  // namespace vllm
