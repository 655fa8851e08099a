// Element types that kernels are compiled for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vllm {

enum class DType : uint8_t { kFloat32, kBFloat16, kFloat16 };

inline size_t ElementSize(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

// Neighbours that lie together in the packed KV cache: operands of dot products of bf16 pairs.
inline int64_t CachePair(DType dtype) { return dtype == DType::kBFloat16 ? 2 : 1; }

}  // namespace vllm
