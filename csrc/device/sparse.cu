#include "device/sparse.h"

#include "device/scaled_mm_tile.h"

namespace vllm::device {
namespace {

constexpr int kThreads = 256;
constexpr int kAtATime = 8;  // columns: a byte of places

template <typename T>
VLLM_DEVICE int MagnitudeOf(T x) {
  if constexpr (std::is_same_v<T, int8_t>) {
    return x < 0 ? -int{x} : x;
  } else {
    // Floats order as their bits do.
    return x.bits & ((1 << (8 * sizeof(T) - 1)) - 1);
  }
}

// Keeps two of `from`, and says which.
template <typename T>
VLLM_DEVICE uint32_t CompressFour(const T* from, T* to) {
  uint32_t places = 0;
  int kept = 0;
  VLLM_UNROLL()
  for (int i = 0; i < 4; ++i) {
    int larger = 0;
    VLLM_UNROLL()
    for (int j = 0; j < 4; ++j) {
      const int difference = MagnitudeOf(from[j]) - MagnitudeOf(from[i]);
      larger += difference > 0 || (difference == 0 && j < i);
    }
    if (larger >= 2) continue;
    (kept == 0 ? to[0] : to[1]) = from[i];
    places |= static_cast<uint32_t>(i) << (2 * kept);
    ++kept;
  }
  return places;
}

template <typename T>
__global__ void CompressKernel(SparseCompress p) {
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kAtATime;
  if (first >= p.size) return;
  const auto given = LoadVector<kAtATime>(static_cast<const T*>(p.input) + first);
  Vector<T, kAtATime / 2> kept;
  const uint32_t low = CompressFour(given.lanes, kept.lanes);
  const uint32_t high = CompressFour(given.lanes + 4, kept.lanes + 2);
  StoreVector(static_cast<T*>(p.values) + first / 2, kept);
  p.places[first / kAtATime] = static_cast<uint8_t>(low | high << 4);
}

// The words of dense columns are made of values and places as the products take them.
template <typename Q>
struct SparseRows {
  // Of a row in a stage: values, then places. 48 bytes a row, of which the first 16 of 8 rows lie
  // in all banks.
  static constexpr int kValueBytes = kStepBytes / 2;
  static constexpr int kPlaceBytes = kStepBytes / sizeof(Q) / kAtATime;
  static constexpr int kRowBytes = 48;
  static constexpr int kWord = 4;  // what rows of places are multiples of
  static_assert(kValueBytes + kPlaceBytes <= kRowBytes && kRowBytes <= kStepBytes);

  const uint8_t* values;
  int64_t value_stride;
  const uint8_t* places;
  int64_t place_stride;
  int64_t count;

  template <int kThreads>
  VLLM_DEVICE void Copy(uint8_t* to, int rows, int64_t begin, int64_t k) const {
    const int64_t place_begin = begin / kStepBytes * kPlaceBytes;
    const int64_t row_places = k / kStepBytes * kPlaceBytes + k % kStepBytes / kPlaceSpan;
    CopyParts<kThreads, kValueBytes, kChunkBytes>(to, rows, values + begin / 2, value_stride,
                                                  (k - begin) / 2);
    CopyParts<kThreads, kPlaceBytes, kWord>(to + kValueBytes, rows, places + place_begin,
                                            place_stride, row_places - place_begin);
  }

  // The words of two neighbouring tiles of 8 columns, of the chunks `chunk` and the one after.
  static VLLM_DEVICE void Load(uint32_t (&words)[4], const uint8_t* stage, int column, int chunk) {
    VLLM_UNROLL()
    for (int i = 0; i < 4; ++i) {
      const int c = chunk + i % 2;
      const uint8_t* row = stage + (column + i / 2 * 8 + MmaLane() / 4) * kRowBytes;
      words[i] = DenseWord(row + c * kChunkBytes / 2, row + kValueBytes + c * kChunkPlaces);
    }
  }

 private:
  static constexpr int kPlaceSpan = kAtATime * sizeof(Q);  // dense bytes of one of places
  static constexpr int kChunkPlaces = kChunkBytes / kPlaceSpan;

  // The first kBytes of `left` bytes of each row, kPart at a time; zeros beyond.
  template <int kThreads, int kBytes, int kPart>
  VLLM_DEVICE void CopyParts(uint8_t* to, int rows, const uint8_t* from, int64_t stride,
                             int64_t left) const {
    constexpr int kParts = kBytes / kPart;
    for (int i = threadIdx.x; i < rows * kParts; i += kThreads) {
      const int row = i / kParts, at = i % kParts * kPart;
      uint8_t* place = to + row * kRowBytes + at;
      if (row < count && at < left) {
        CopyToShared<kPart>(place, from + row * stride + at);
      } else {
        StoreVector(place, Vector<uint8_t, kPart>{});
      }
    }
  }

  // This lane's word of 16 dense bytes, of 8 bytes of values and their places.
  static VLLM_DEVICE uint32_t DenseWord(const uint8_t* values, const uint8_t* places) {
    const int t = MmaLane() % 4;
    if constexpr (sizeof(Q) == 1) {
      const uint32_t pair = BitCast<uint16_t>(LoadVector<2>(values + 2 * t));
      const uint32_t four = places[t / 2] >> (t % 2 * 4);
      return (pair & 0xffu) << (four % 4 * 8) | (pair >> 8) << (four / 4 % 4 * 8);
    } else {
      const uint32_t pair = BitCast<uint32_t>(LoadVector<4>(values + t / 2 * 4));
      const uint32_t four = places[0] >> (t / 2 * 4), half = t % 2;
      const uint32_t first = four % 4, second = four / 4 % 4;
      return (first / 2 == half ? (pair & 0xffffu) << (first % 2 * 16) : 0u) |
             (second / 2 == half ? pair >> 16 << (second % 2 * 16) : 0u);
    }
  }
};

template <typename Q, typename S>
__global__ void __launch_bounds__(S::kThreads, 512 / S::kThreads) SparseMmKernel(SparseMm p) {
  VLLM_DYNAMIC_SHARED(shared);
  using Tile = MmTile<Q, S, SparseRows<Q>>;
  const ScaledMm& mm = p.mm;
  const TileOrigin origin = OriginOf<S>(blockIdx.x, mm.m, mm.n);
  const Tile tile{shared,
                  {mm.a + origin.row * mm.a_stride, mm.a_stride, mm.m - origin.row},
                  {mm.b + origin.column * mm.b_stride, mm.b_stride,
                   p.places + origin.column * p.place_stride, p.place_stride, mm.n - origin.column},
                  mm.k};
  typename Tile::Sums sums{};
  const auto nothing = [](int) {};
  tile.Run(sums, nothing, nothing);
  StoreScaled<Q>(mm, tile, origin, sums);
}

template <typename F>
void DispatchSparse(const char* op, Type type, F&& f) {
  switch (type) {
    case Type::kInt8:
      return f(Tag<int8_t>{});
    case Type::kFp8E4M3:
      return f(Tag<Fp8E4M3>{});
    case Type::kBFloat16:
      return f(Tag<BFloat16>{});
    case Type::kFloat16:
      return f(Tag<Float16>{});
    default:
      FailType(op);
  }
}

}  // namespace

void CompressSparse(const SparseCompress& p) {
  DispatchSparse(p.op, p.type, [&](auto tag) {
    Launch({p.op, CeilDiv(p.size, int64_t{kThreads} * kAtATime), 1, 1, kThreads}, p.stream,
           CompressKernel<typename decltype(tag)::type>, p);
  });
}

void RunSparseMm(const SparseMm& p) {
  DispatchSparse(p.mm.op, p.mm.type, [&](auto type_tag) {
    using Q = typename decltype(type_tag)::type;
    DispatchMmShape(p.mm.m, [&](auto tag) {
      using S = typename decltype(tag)::type;
      Launch({p.mm.op, MmTiles<S>(p.mm.m, p.mm.n), 1, 1, S::kThreads, S::kSharedBytes}, p.mm.stream,
             SparseMmKernel<Q, S>, p);
    });
  });
}

}  // namespace vllm::device
