// A product of small matrices by 32 neighbouring lanes, d[16, 8] += a[16, 16] b[16, 8], in 16-bit
// floats with f32 sums: mma.sync on NVIDIA GPUs since sm_80, shuffles elsewhere. Every device keeps
// the fragments as PTX's m16n8k16 lays them out; with g = lane / 4 and t = lane % 4:
//   a: pairs (row g, columns 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8)
//   b: pairs (rows 2t, column g), (2t + 8, g)
//   d: (row g, columns 2t and 2t + 1), (g + 8, both)
// The instructions are volatile as all lanes take part in them: none may move into a branch.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

#if VLLM_KERNELS

constexpr int kMmaLanes = 32;

struct FragmentA {
  uint32_t pairs[4];
};
struct FragmentB {
  uint32_t pairs[2];
};
struct FragmentD {
  float values[4];
};

VLLM_DEVICE int MmaLane() { return static_cast<int>(threadIdx.x) % kMmaLanes; }

template <typename T>
VLLM_DEVICE uint32_t PackPair(float low, float high) {
  const T pair[2] = {FromFloat<T>(low), FromFloat<T>(high)};
  return pair[0].bits | static_cast<uint32_t>(pair[1].bits) << 16;
}

template <typename T>
VLLM_DEVICE float Low(uint32_t pair) {
  return ToFloat(T{static_cast<uint16_t>(pair)});
}
template <typename T>
VLLM_DEVICE float High(uint32_t pair) {
  return ToFloat(T{static_cast<uint16_t>(pair >> 16)});
}

// What follows is for devices without the instruction: words of the fragments from the lanes that
// hold them. Lanes with t = owner have the rows of b that start at 2 * owner and 2 * owner + 8.
struct TwoWords {
  uint32_t low;
  uint32_t high;
};

VLLM_DEVICE TwoWords ShareWords(uint32_t low, uint32_t high, int lane) {
  const uint64_t both = Shuffle(low | uint64_t{high} << 32, LaneId() - MmaLane() + lane);
  return {static_cast<uint32_t>(both), static_cast<uint32_t>(both >> 32)};
}

// Of a's rows g and g + 8, the columns of the first or the second half.
VLLM_DEVICE TwoWords ShareRows(const uint32_t (&words)[4], int owner, int half) {
  return ShareWords(words[half * 2], words[half * 2 + 1], MmaLane() / 4 * 4 + owner);
}

// Of b's columns 2t and 2t + 1, the rows of both halves.
struct MmaColumns {
  TwoWords left;
  TwoWords right;
};
VLLM_DEVICE MmaColumns ShareColumns(const uint32_t (&words)[2], int owner) {
  const int column = MmaLane() % 4 * 2;
  return {ShareWords(words[0], words[1], column * 4 + owner),
          ShareWords(words[0], words[1], (column + 1) * 4 + owner)};
}

template <typename T>
VLLM_DEVICE void Mma(FragmentD& d, const FragmentA& a, const FragmentB& b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, BFloat16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d.values[0]), "+f"(d.values[1]), "+f"(d.values[2]), "+f"(d.values[3])
        : "r"(a.pairs[0]), "r"(a.pairs[1]), "r"(a.pairs[2]), "r"(a.pairs[3]), "r"(b.pairs[0]),
          "r"(b.pairs[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d.values[0]), "+f"(d.values[1]), "+f"(d.values[2]), "+f"(d.values[3])
        : "r"(a.pairs[0]), "r"(a.pairs[1]), "r"(a.pairs[2]), "r"(a.pairs[3]), "r"(b.pairs[0]),
          "r"(b.pairs[1]));
  }
#else
  // Not unrolled: attention has dozens of these products in a row.
  VLLM_UNROLL(1)
  for (int owner = 0; owner < 4; ++owner) {
    const MmaColumns columns = ShareColumns(b.pairs, owner);
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      const TwoWords rows = ShareRows(a.pairs, owner, half);
      const uint32_t left = half ? columns.left.high : columns.left.low;
      const uint32_t right = half ? columns.right.high : columns.right.low;
      d.values[0] += Low<T>(rows.low) * Low<T>(left) + High<T>(rows.low) * High<T>(left);
      d.values[1] += Low<T>(rows.low) * Low<T>(right) + High<T>(rows.low) * High<T>(right);
      d.values[2] += Low<T>(rows.high) * Low<T>(left) + High<T>(rows.high) * High<T>(left);
      d.values[3] += Low<T>(rows.high) * Low<T>(right) + High<T>(rows.high) * High<T>(right);
    }
  }
#endif
}

template <typename T>
VLLM_DEVICE uint32_t LoadPair(const T* from) {
  return BitCast<uint32_t>(LoadVector<2>(from));
}

// Rows 0 to 15, columns 0 to 15 of a row-major tile in shared memory.
template <typename T>
VLLM_DEVICE FragmentA LoadA(const T* tile, int stride) {
  const int g = MmaLane() / 4, t = MmaLane() % 4;
  const T* upper = tile + g * stride + 2 * t;
  const T* lower = upper + 8 * stride;
  return {{LoadPair(upper), LoadPair(lower), LoadPair(upper + 8), LoadPair(lower + 8)}};
}

// b[k, n] = tile[n, k]: rows 0 to 7 and columns 0 to 15 of a row-major tile.
template <typename T>
VLLM_DEVICE FragmentB LoadBOfRows(const T* tile, int stride) {
  const int g = MmaLane() / 4, t = MmaLane() % 4;
  const T* row = tile + g * stride + 2 * t;
  return {{LoadPair(row), LoadPair(row + 8)}};
}

// b[k, n] = tile[k, n]: rows 0 to 15 and columns 0 to 7 of a row-major tile whose rows start at
// multiples of 16 bytes in shared memory.
template <typename T>
VLLM_DEVICE FragmentB LoadBOfColumns(const T* tile, int stride) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750
  FragmentB b;
  const T* row = tile + MmaLane() % 16 * stride;
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(b.pairs[0]), "=r"(b.pairs[1])
               : "r"(address)
               : "memory");
  return b;
#else
  const int g = MmaLane() / 4, t = MmaLane() % 4;
  const T* first = tile + 2 * t * stride + g;
  const auto pair = [&](const T* at) {
    return at[0].bits | static_cast<uint32_t>(at[stride].bits) << 16;
  };
  return {{pair(first), pair(first + 8 * stride)}};
#endif
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
