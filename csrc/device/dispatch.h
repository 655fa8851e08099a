// From a runtime Type to a template argument: DispatchFloat(type, [&](auto tag) { using T =
// typename decltype(tag)::type; });
#pragma once

#include "device/numeric.h"

namespace vllm::device {

template <typename T>
struct Tag {
  using type = T;
};

[[noreturn]] inline void FailType(const char* op) {
  throw std::logic_error(std::string(op) + ": no kernel for this element type");
}

template <typename F>
void DispatchFloat(const char* op, Type type, F&& f) {
  switch (type) {
    case Type::kFloat32:
      return f(Tag<float>{});
    case Type::kBFloat16:
      return f(Tag<BFloat16>{});
    case Type::kFloat16:
      return f(Tag<Float16>{});
    default:
      FailType(op);
  }
}

// The type that a cache holds for inputs of type T: T itself or an 8-bit float.
template <typename T, typename F>
void DispatchCache(Type cache_type, F&& f) {
  switch (cache_type) {
    case Type::kFp8E4M3:
      return f(Tag<Fp8E4M3>{});
    case Type::kFp8E5M2:
      return f(Tag<Fp8E5M2>{});
    default:
      return f(Tag<T>{});
  }
}

VLLM_HOST_DEVICE int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Threads for `items` of work in one block: a multiple of 64, at most `limit`.
inline int ThreadsFor(int64_t items, int limit) {
  const int64_t threads = CeilDiv(items, 64) * 64;
  return static_cast<int>(threads < 64 ? 64 : threads > limit ? limit : threads);
}

}  // namespace vllm::device
