#include "cpu/qkv.h"

#include <cmath>
#include <cstring>
#include <type_traits>

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/qkv.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/kv_code-inl.h"
#include "cpu/rotary-inl.h"
#include "cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// out = x / rms(x) * weight
template <typename T>
HWY_INLINE void NormalizeHead(const T* HWY_RESTRICT x, const T* HWY_RESTRICT weight, float epsilon,
                              float* HWY_RESTRICT out, size_t size) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  VF32 sum = hn::Zero(d);
  for (size_t i = 0; i < size; i += lanes) {
    const VF32 v = i + lanes <= size ? LoadF32(d, x + i) : LoadF32N(d, x + i, size - i);
    sum = hn::MulAdd(v, v, sum);
  }
  const float mean = hn::ReduceSum(d, sum) / static_cast<float>(size);
  const VF32 scale = hn::Set(d, 1.0f / std::sqrt(mean + epsilon));
  for (size_t i = 0; i < size; i += lanes) {
    const size_t n = HWY_MIN(lanes, size - i);
    const VF32 v = hn::Mul(LoadF32N(d, x + i, n), scale);
    hn::StoreN(hn::Mul(v, LoadF32N(d, weight + i, n)), d, out + i, n);
  }
}

template <typename T>
HWY_INLINE void StoreHead(const float* HWY_RESTRICT x, T* HWY_RESTRICT out, size_t begin,
                          size_t size) {
  const F32 d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = begin; i < size; i += lanes) {
    const size_t n = HWY_MIN(lanes, size - i);
    StoreF32N(hn::LoadN(d, x + i, n), d, out + i, n);
  }
}

// One query or key head: x -> out, which may be the same memory. cos_sin is null where nothing is
// rotated.
template <typename T>
HWY_INLINE void TransformHead(const QkvArgs& args, const T* x, const T* weight,
                              const float* cos_sin, T* out) {
  const size_t size = static_cast<size_t>(args.head_size);
  const size_t rotary_size = static_cast<size_t>(args.table.rotary_size);
  if (weight != nullptr) {
    HWY_ALIGN float head[kMaxHeadSize];
    NormalizeHead(x, weight, args.epsilon, head, size);
    if (cos_sin != nullptr) Rotate(head, out, cos_sin, rotary_size / 2, args.is_neox);
    StoreHead(head, out, cos_sin != nullptr ? rotary_size : 0, size);
    return;
  }
  size_t rotated = 0;
  if (cos_sin != nullptr) {
    Rotate(x, out, cos_sin, rotary_size / 2, args.is_neox);
    rotated = rotary_size;
  }
  if (x != out && rotated < size)
    std::memcpy(out + rotated, x + rotated, (size - rotated) * sizeof(T));
}

template <typename T>
HWY_INLINE T* CacheHead(const PagedCache& cache, int64_t block, int64_t offset) {
  return static_cast<T*>(cache.data) + block * cache.block_stride + offset * cache.slot_stride;
}

// Keys and values of one token into the packed layout; `head` is the token's first key.
template <typename T>
void StorePacked(const QkvArgs& args, const T* HWY_RESTRICT head, const float* cos_sin,
                 int64_t block, int64_t offset) {
  constexpr int64_t kPair = std::is_same_v<T, hwy::bfloat16_t> ? 2 : 1;
  const int64_t size = args.head_size, block_size = args.block_size;
  T buffer[kMaxHeadSize];
  for (int64_t h = 0; h < args.kv_heads; ++h, head += size) {
    TransformHead(args, head, static_cast<const T*>(args.k_weight), cos_sin, buffer);
    T* key = static_cast<T*>(args.key_cache.data) + block * args.key_cache.block_stride +
             h * args.key_cache.head_stride + offset * kPair;
    for (int64_t d = 0; d < size; d += kPair) {
      std::memcpy(key + d * block_size, buffer + d, kPair * sizeof(T));
    }
  }
  for (int64_t h = 0; h < args.kv_heads; ++h, head += size) {
    T* value = static_cast<T*>(args.value_cache.data) + block * args.value_cache.block_stride +
               h * args.value_cache.head_stride + offset / kPair * kPair * size + offset % kPair;
    for (int64_t d = 0; d < size; ++d) value[d * kPair] = head[d];
  }
}

// The same as codes.
template <typename T>
void StoreCoded(const QkvArgs& args, const T* HWY_RESTRICT head, const float* cos_sin,
                int64_t block, int64_t offset) {
  constexpr int64_t kPair = std::is_same_v<T, hwy::bfloat16_t> ? 2 : 1;
  const int64_t size = args.head_size, block_size = args.block_size;
  T buffer[kMaxHeadSize];
  uint8_t codes[kMaxHeadSize];
  const auto encode = [&](const PagedCache& cache, const T* x, int64_t h) {
    float* scale = cache.scales.each ? cache.scales.At(block, h, offset) : nullptr;
    if (scale) *scale = LargestMagnitude(x, size) / LargestValue(args.code);
    EncodeCodes(args.code, x, size, scale ? *scale : cache.scales.all, codes);
    return static_cast<uint8_t*>(cache.data) + block * cache.block_stride + h * cache.head_stride;
  };
  for (int64_t h = 0; h < args.kv_heads; ++h, head += size) {
    TransformHead(args, head, static_cast<const T*>(args.k_weight), cos_sin, buffer);
    uint8_t* key = encode(args.key_cache, buffer, h) + offset * kPair;
    for (int64_t d = 0; d < size; d += kPair) std::memcpy(key + d * block_size, codes + d, kPair);
  }
  for (int64_t h = 0; h < args.kv_heads; ++h, head += size) {
    uint8_t* value =
        encode(args.value_cache, head, h) + offset / kPair * kPair * size + offset % kPair;
    for (int64_t d = 0; d < size; ++d) value[d * kPair] = codes[d];
  }
}

template <typename T>
void QkvTokensOf(const QkvArgs& args, int64_t begin, int64_t end) {
  HWY_ALIGN float buffer[kMaxHeadSize];
  const int64_t size = args.head_size;
  for (int64_t token = begin; token < end; ++token) {
    T* head = static_cast<T*>(args.qkv) + token * args.token_stride;
    const float* cos_sin =
        args.table.data == nullptr ? nullptr : TableRow(args.table, args.positions[token], buffer);
    for (int64_t h = 0; h < args.heads; ++h, head += size) {
      TransformHead(args, head, static_cast<const T*>(args.q_weight), cos_sin, head);
    }
    const int64_t slot = args.slots[token];
    if (slot < 0) continue;
    const int64_t block = slot / args.block_size, offset = slot % args.block_size;
    if (args.code != KvCode::kNone) {
      StoreCoded(args, static_cast<const T*>(head), cos_sin, block, offset);
      continue;
    }
    if (args.key_cache.packed) {
      StorePacked(args, static_cast<const T*>(head), cos_sin, block, offset);
      continue;
    }
    T* key = CacheHead<T>(args.key_cache, block, offset);
    for (int64_t h = 0; h < args.kv_heads; ++h, head += size, key += args.key_cache.head_stride) {
      TransformHead(args, head, static_cast<const T*>(args.k_weight), cos_sin, key);
    }
    T* value = CacheHead<T>(args.value_cache, block, offset);
    for (int64_t h = 0; h < args.kv_heads;
         ++h, head += size, value += args.value_cache.head_stride) {
      std::memcpy(value, head, static_cast<size_t>(size) * sizeof(T));
    }
  }
}

void QkvTokens(const QkvArgs& args, int64_t begin, int64_t end) {
  VLLM_FOR_DTYPE(args.dtype, T, QkvTokensOf<T>(args, begin, end));
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(QkvTokens);

void QkvNormRopeCache(const QkvArgs& args) {
  const auto tokens = VLLM_DISPATCH(QkvTokens);
  // An element costs several times what it does in a norm: keys and values are scattered.
  constexpr int64_t kCost = 4;
  ParallelFor(args.tokens, kCost * (args.heads + 2 * args.kv_heads) * args.head_size,
              [&](int64_t begin, int64_t end) { tokens(args, begin, end); });
}

}  // namespace vllm
#endif  // HWY_ONCE
