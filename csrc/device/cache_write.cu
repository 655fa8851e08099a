#include <type_traits>

#include "device/cache.h"
#include "device/dispatch.h"

namespace vllm::device {
namespace {

constexpr int kMaxThreads = 512;

template <typename Cache, typename T>
VLLM_DEVICE Cache Encode(T value, float scale) {
  if constexpr (std::is_same_v<Cache, T>) {
    return value;
  } else {
    return FromFloat<Cache>(ToFloat(value) / scale);
  }
}

template <typename Cache, typename T, int kCount>
VLLM_DEVICE Vector<Cache, kCount> EncodeVector(const Vector<T, kCount>& values, float scale) {
  Vector<Cache, kCount> out;
  VLLM_UNROLL()
  for (int i = 0; i < kCount; ++i) out.lanes[i] = Encode<Cache>(values.lanes[i], scale);
  return out;
}

template <typename Cache, typename T>
VLLM_DEVICE float ScaleOf(const CacheScale& scale, int head) {
  return std::is_same_v<T, Cache> ? 1.0f : scale.data[head * scale.stride];
}

// A block a token. kVector divides head_size and, for keys, the cache's x.
template <typename T, typename Cache, int kVector>
__global__ void ClassicKernel(CacheWrite w) {
  const int64_t token = blockIdx.x, slot = w.slots[token];
  if (slot < 0 || slot >= w.num_slots) return;
  constexpr int kX = 16 / sizeof(Cache);
  const int64_t block = slot / w.block_size, offset = slot % w.block_size;
  const int vectors = static_cast<int>(w.heads * w.head_size / kVector);
  for (int i = static_cast<int>(threadIdx.x); i < vectors; i += static_cast<int>(blockDim.x)) {
    const int head = i * kVector / static_cast<int>(w.head_size);
    const int d = i * kVector % static_cast<int>(w.head_size);
    const float k_scale = ScaleOf<Cache, T>(w.k_scale, head);
    const float v_scale = ScaleOf<Cache, T>(w.v_scale, head);
    const int64_t head_base = (block * w.heads + head) * w.head_size * w.block_size;
    const T* key = static_cast<const T*>(w.key.data) + token * w.key.token_stride +
                   head * w.key.head_stride + d;
    Cache* key_out = static_cast<Cache*>(w.key_cache) + head_base +
                     (d / kX * w.block_size + offset) * kX + d % kX;
    StoreVector(key_out, EncodeVector<Cache>(LoadVector<kVector>(key), k_scale));
    const T* value = static_cast<const T*>(w.value.data) + token * w.value.token_stride +
                     head * w.value.head_stride + d;
    Cache* value_out = static_cast<Cache*>(w.value_cache) + head_base + d * w.block_size + offset;
    const auto values = EncodeVector<Cache>(LoadVector<kVector>(value), v_scale);
    VLLM_UNROLL()
    for (int j = 0; j < kVector; ++j) value_out[j * w.block_size] = values.lanes[j];
  }
}

template <typename T, typename Cache, int kVector>
__global__ void FlashKernel(CacheWrite w, FlashStrides key, FlashStrides value) {
  const int64_t token = blockIdx.x, slot = w.slots[token];
  if (slot < 0 || slot >= w.num_slots) return;
  const int64_t block = slot / w.block_size, offset = slot % w.block_size;
  const T* key_in = static_cast<const T*>(w.key.data) + token * w.key.token_stride;
  const T* value_in = static_cast<const T*>(w.value.data) + token * w.value.token_stride;
  Cache* key_out = static_cast<Cache*>(w.key_cache) + block * key.block + offset * key.slot;
  Cache* value_out = static_cast<Cache*>(w.value_cache) + block * value.block + offset * value.slot;
  const int vectors = static_cast<int>(w.heads * w.head_size / kVector);
  for (int i = static_cast<int>(threadIdx.x); i < vectors; i += static_cast<int>(blockDim.x)) {
    const int head = i * kVector / static_cast<int>(w.head_size);
    const int d = i * kVector % static_cast<int>(w.head_size);
    const float k_scale = ScaleOf<Cache, T>(w.k_scale, head);
    const float v_scale = ScaleOf<Cache, T>(w.v_scale, head);
    const auto k = LoadVector<kVector>(key_in + head * w.key.head_stride + d);
    const auto v = LoadVector<kVector>(value_in + head * w.value.head_stride + d);
    StoreVector(key_out + head * key.head + d, EncodeVector<Cache>(k, k_scale));
    StoreVector(value_out + head * value.head + d, EncodeVector<Cache>(v, v_scale));
  }
}

template <typename T, typename Cache, int kVector>
__global__ void MlaKernel(MlaWrite w) {
  const int64_t token = blockIdx.x, slot = w.slots[token];
  if (slot < 0 || slot >= w.num_slots) return;
  const float scale = std::is_same_v<T, Cache> ? 1.0f : *w.scale;
  const T* latent = static_cast<const T*>(w.latent) + token * w.latent_stride;
  const T* rope = static_cast<const T*>(w.rope) + token * w.rope_stride;
  Cache* out = static_cast<Cache*>(w.cache) + slot / w.block_size * w.block_stride +
               slot % w.block_size * w.slot_stride;
  const int rank = static_cast<int>(w.rank), width = rank + static_cast<int>(w.rope_size);
  for (int d = static_cast<int>(threadIdx.x) * kVector; d < width;
       d += static_cast<int>(blockDim.x) * kVector) {
    const T* from = d < rank ? latent + d : rope + (d - rank);
    StoreVector(out + d, EncodeVector<Cache>(LoadVector<kVector>(from), scale));
  }
}

// Whether rows that start at multiples of these strides can be read `vector` elements at a time.
bool Aligned(const void* data, std::initializer_list<int64_t> strides, int vector, size_t element) {
  for (int64_t stride : strides) {
    if (stride % vector != 0) return false;
  }
  const size_t bytes = static_cast<size_t>(vector) * element;
  return IsAligned(data, bytes < 16 ? bytes : 16);
}

bool InputsAligned(const CacheWrite& w, int vector, size_t element) {
  return w.head_size % vector == 0 &&
         Aligned(w.key.data, {w.key.token_stride, w.key.head_stride}, vector, element) &&
         Aligned(w.value.data, {w.value.token_stride, w.value.head_stride}, vector, element);
}

LaunchShape TokenBlocks(const char* op, int64_t tokens, int64_t items) {
  return {op, tokens, 1, 1, ThreadsFor(items, kMaxThreads)};
}

// f(T, Cache) for the types of the write.
template <typename Write, typename F>
void DispatchWrite(const Write& w, F&& f) {
  DispatchFloat(w.op, w.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    DispatchCache<T>(w.cache_type, [&](auto cache_tag) { f(tag, cache_tag); });
  });
}

}  // namespace

void ReshapeAndCache(const CacheWrite& w) {
  DispatchWrite(w, [&](auto tag, auto cache_tag) {
    using T = typename decltype(tag)::type;
    using Cache = typename decltype(cache_tag)::type;
    constexpr int kVector = kVectorOf<T>;
    const bool vectors = InputsAligned(w, kVector, sizeof(T)) && IsAligned(w.key_cache, 16);
    const auto kernel = vectors ? ClassicKernel<T, Cache, kVector> : ClassicKernel<T, Cache, 1>;
    const int64_t items = w.heads * w.head_size / (vectors ? kVector : 1);
    Launch(TokenBlocks(w.op, w.tokens, items), w.stream, kernel, w);
  });
}

void ReshapeAndCacheFlash(const CacheWrite& w, FlashStrides key, FlashStrides value) {
  DispatchWrite(w, [&](auto tag, auto cache_tag) {
    using T = typename decltype(tag)::type;
    using Cache = typename decltype(cache_tag)::type;
    constexpr int kVector = kVectorOf<T>;
    const bool vectors =
        InputsAligned(w, kVector, sizeof(T)) &&
        Aligned(w.key_cache, {key.block, key.slot, key.head}, kVector, sizeof(Cache)) &&
        Aligned(w.value_cache, {value.block, value.slot, value.head}, kVector, sizeof(Cache));
    const auto kernel = vectors ? FlashKernel<T, Cache, kVector> : FlashKernel<T, Cache, 1>;
    const int64_t items = w.heads * w.head_size / (vectors ? kVector : 1);
    Launch(TokenBlocks(w.op, w.tokens, items), w.stream, kernel, w, key, value);
  });
}

void ConcatAndCacheMla(const MlaWrite& w) {
  DispatchWrite(w, [&](auto tag, auto cache_tag) {
    using T = typename decltype(tag)::type;
    using Cache = typename decltype(cache_tag)::type;
    constexpr int kVector = kVectorOf<T>;
    const bool vectors = w.rank % kVector == 0 && w.rope_size % kVector == 0 &&
                         Aligned(w.latent, {w.latent_stride}, kVector, sizeof(T)) &&
                         Aligned(w.rope, {w.rope_stride}, kVector, sizeof(T)) &&
                         Aligned(w.cache, {w.block_stride, w.slot_stride}, kVector, sizeof(Cache));
    const auto kernel = vectors ? MlaKernel<T, Cache, kVector> : MlaKernel<T, Cache, 1>;
    const int64_t items = (w.rank + w.rope_size) / (vectors ? kVector : 1);
    Launch(TokenBlocks(w.op, w.tokens, items), w.stream, kernel, w);
  });
}

}  // namespace vllm::device
