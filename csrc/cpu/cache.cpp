#include "cpu/cache.h"

#include <cstring>

#include "core/parallel.h"

namespace vllm {
namespace {

template <typename T>
void StoreClassicToken(const ClassicCacheArgs& args, int64_t token) {
  const int64_t slot = args.slots[token];
  if (slot < 0) return;
  const int64_t block = slot / args.block_size, offset = slot % args.block_size;
  const int64_t groups = args.head_size / args.x;
  for (int64_t h = 0; h < args.heads; ++h) {
    const T* key = static_cast<const T*>(args.key.data) + token * args.key.token_stride +
                   h * args.key.head_stride;
    const T* value = static_cast<const T*>(args.value.data) + token * args.value.token_stride +
                     h * args.value.head_stride;
    const int64_t head = (block * args.heads + h) * args.head_size * args.block_size;
    T* key_out = static_cast<T*>(args.key_cache) + head + offset * args.x;
    for (int64_t g = 0; g < groups; ++g) {
      std::memcpy(key_out + g * args.block_size * args.x, key + g * args.x,
                  static_cast<size_t>(args.x) * sizeof(T));
    }
    T* value_out = static_cast<T*>(args.value_cache) + head + offset;
    for (int64_t i = 0; i < args.head_size; ++i) value_out[i * args.block_size] = value[i];
  }
}

void StoreFlashToken(const FlashCacheArgs& args, int64_t token) {
  const int64_t slot = args.slots[token];
  if (slot < 0) return;
  const int64_t element = static_cast<int64_t>(args.element_size);
  const int64_t block = slot / args.block_size, offset = slot % args.block_size;
  for (int i = 0; i < 2; ++i) {
    const CacheInput& input = args.inputs[i];
    const char* from = static_cast<const char*>(input.data) + token * input.token_stride * element;
    char* to = static_cast<char*>(args.caches[i]) +
               (block * args.block_strides[i] + offset * args.slot_strides[i]) * element;
    const size_t bytes = static_cast<size_t>(args.head_size * element);
    const bool adjacent =
        input.head_stride == args.head_size && args.head_strides[i] == args.head_size;
    if (adjacent) {
      std::memcpy(to, from, static_cast<size_t>(args.heads) * bytes);
      continue;
    }
    for (int64_t h = 0; h < args.heads; ++h) {
      std::memcpy(to + h * args.head_strides[i] * element, from + h * input.head_stride * element,
                  bytes);
    }
  }
}

void StoreLatent(const LatentCacheArgs& args, int64_t token) {
  const int64_t slot = args.slots[token];
  if (slot < 0) return;
  const int64_t element = static_cast<int64_t>(args.element_size);
  char* to = static_cast<char*>(args.cache) + (slot / args.block_size * args.block_stride +
                                               slot % args.block_size * args.slot_stride) *
                                                  element;
  std::memcpy(to, static_cast<const char*>(args.latent) + token * args.latent_stride * element,
              static_cast<size_t>(args.rank * element));
  std::memcpy(to + args.rank * element,
              static_cast<const char*>(args.rope) + token * args.rope_stride * element,
              static_cast<size_t>(args.rope_size * element));
}

}  // namespace

void ReshapeAndCacheFlash(const FlashCacheArgs& args) {
  ParallelFor(args.tokens, 2 * args.heads * args.head_size, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) StoreFlashToken(args, token);
  });
}

void ReshapeAndCache(const ClassicCacheArgs& args) {
  ParallelFor(args.tokens, 2 * args.heads * args.head_size, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) {
      if (args.element_size == 2) {
        StoreClassicToken<uint16_t>(args, token);
      } else {
        StoreClassicToken<uint32_t>(args, token);
      }
    }
  });
}

void ConcatAndCacheLatents(const LatentCacheArgs& args) {
  ParallelFor(args.tokens, args.rank + args.rope_size, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) StoreLatent(args, token);
  });
}

void SwapBlocks(const void* src, void* dst, int64_t block_bytes, const int64_t* pairs,
                int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    // Source and destination may be one cache.
    std::memmove(static_cast<char*>(dst) + pairs[2 * i + 1] * block_bytes,
                 static_cast<const char*>(src) + pairs[2 * i] * block_bytes,
                 static_cast<size_t>(block_bytes));
  }
}

}  // namespace vllm
