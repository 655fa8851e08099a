#include <type_traits>

#include "device/cache.h"
#include "device/dispatch.h"

namespace vllm::device {
namespace {

// The sequence that a token belongs to: the last one whose first token is not after it.
VLLM_DEVICE int64_t SequenceOf(const Gather& g, int64_t token) {
  if (g.token_to_seq) return g.token_to_seq[token];
  int64_t low = 0, high = g.seqs - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (g.cu_seq_lens[middle] <= token) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// The slot's row in the cache, or nullptr for one that is not there.
template <typename Cache>
VLLM_DEVICE const Cache* CacheRow(const Gather& g, int64_t token) {
  const int64_t seq = SequenceOf(g, token);
  if (seq < 0 || seq >= g.seqs || token >= g.cu_seq_lens[g.seqs]) return nullptr;
  const int64_t position =
      token - g.cu_seq_lens[seq] + (g.seq_starts ? g.seq_starts[seq] : int64_t{0});
  const int64_t entry = position / g.block_size;
  if (position < 0 || entry >= g.max_blocks) return nullptr;
  const int64_t block = g.block_table[seq * g.table_stride + entry];
  if (block < 0 || block >= g.num_blocks) return nullptr;
  return static_cast<const Cache*>(g.cache) + block * g.block_stride +
         position % g.block_size * g.slot_stride;
}

template <typename T, typename Cache>
VLLM_DEVICE T Decode(Cache value, float scale) {
  if constexpr (std::is_same_v<Cache, T>) {
    return value;
  } else {
    return FromFloat<T>(ToFloat(value) * scale);
  }
}

template <typename T, typename Cache, int kVector>
__global__ void GatherKernel(Gather g) {
  const int64_t token = blockIdx.x;
  const Cache* row = CacheRow<Cache>(g, token);
  if (!row) return;
  const float scale = std::is_same_v<T, Cache> ? 1.0f : *g.scale;
  T* out = static_cast<T*>(g.dst) + token * g.dst_stride;
  for (int64_t d = int64_t{threadIdx.x} * kVector; d < g.width;
       d += int64_t{blockDim.x} * kVector) {
    const auto in = LoadVector<kVector>(row + d);
    Vector<T, kVector> values;
    VLLM_UNROLL()
    for (int i = 0; i < kVector; ++i) values.lanes[i] = Decode<T>(in.lanes[i], scale);
    StoreVector(out + d, values);
  }
}

template <typename Cache, typename T>
void LaunchGather(const Gather& g) {
  constexpr int kVector = 16 / (sizeof(T) > sizeof(Cache) ? sizeof(T) : sizeof(Cache));
  const bool vectors = g.width % kVector == 0 && g.block_stride % kVector == 0 &&
                       g.slot_stride % kVector == 0 && g.dst_stride % kVector == 0 &&
                       IsAligned(g.cache, kVector * sizeof(Cache)) && IsAligned(g.dst, 16);
  const auto kernel = vectors ? GatherKernel<T, Cache, kVector> : GatherKernel<T, Cache, 1>;
  Launch({g.op, g.tokens, 1, 1, ThreadsFor(g.width / (vectors ? kVector : 1), 256)}, g.stream,
         kernel, g);
}

// To 8 bits where To is the narrower type, else back.
template <typename To, typename From, int kVector>
__global__ void ConvertKernel(To* dst, const From* src, int64_t vectors, float scale) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= vectors) return;
  const auto in = LoadVector<kVector>(src + i * kVector);
  Vector<To, kVector> out;
  VLLM_UNROLL()
  for (int j = 0; j < kVector; ++j) {
    const float x = ToFloat(in.lanes[j]);
    out.lanes[j] = FromFloat<To>(sizeof(To) == 1 ? x / scale : x * scale);
  }
  StoreVector(dst + i * kVector, out);
}

template <typename To, typename From>
void LaunchConvert(const char* op, void* dst, const void* src, int64_t count, float scale,
                   Stream stream) {
  constexpr int kVector = 16 / (sizeof(To) > sizeof(From) ? sizeof(To) : sizeof(From));
  constexpr int kThreads = 256;
  const bool vectors = count % kVector == 0 && IsAligned(dst, kVector * sizeof(To)) &&
                       IsAligned(src, kVector * sizeof(From));
  const auto kernel = vectors ? ConvertKernel<To, From, kVector> : ConvertKernel<To, From, 1>;
  const int64_t items = vectors ? count / kVector : count;
  Launch({op, CeilDiv(items, kThreads), 1, 1, kThreads}, stream, kernel, static_cast<To*>(dst),
         static_cast<const From*>(src), items, scale);
}

template <typename F>
void DispatchFp8(const char* op, Type type, F&& f) {
  if (type == Type::kFp8E4M3) return f(Tag<Fp8E4M3>{});
  if (type == Type::kFp8E5M2) return f(Tag<Fp8E5M2>{});
  FailType(op);
}

}  // namespace

void GatherCache(const Gather& g) {
  if (g.type == Type::kInt8) return LaunchGather<int8_t, int8_t>(g);
  DispatchFloat(g.op, g.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    DispatchCache<T>(g.cache_type, [&](auto cache_tag) {
      LaunchGather<typename decltype(cache_tag)::type, T>(g);
    });
  });
}

void ConvertFp8(const char* op, void* dst, Type dst_type, const void* src, Type src_type,
                int64_t count, float scale, Stream stream) {
  const bool encode = dst_type == Type::kFp8E4M3 || dst_type == Type::kFp8E5M2;
  DispatchFp8(op, encode ? dst_type : src_type, [&](auto fp8_tag) {
    using Fp8 = typename decltype(fp8_tag)::type;
    DispatchFloat(op, encode ? src_type : dst_type, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if (encode) {
        LaunchConvert<Fp8, T>(op, dst, src, count, scale, stream);
      } else {
        LaunchConvert<T, Fp8>(op, dst, src, count, scale, stream);
      }
    });
  });
}

void SwapBlocks(const char* op, const void* src, void* dst, int64_t block_bytes,
                const int64_t* pairs, int64_t count, Stream stream) {
  for (int64_t i = 0; i < count; ++i) {
    CopyAsync(op, static_cast<char*>(dst) + pairs[2 * i + 1] * block_bytes,
              static_cast<const char*>(src) + pairs[2 * i] * block_bytes,
              static_cast<size_t>(block_bytes), stream);
  }
}

}  // namespace vllm::device
