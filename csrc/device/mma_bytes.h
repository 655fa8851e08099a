// A product of small matrices of bytes by 32 neighbouring lanes, d[16, 8] += a[16, 32] b[32, 8]:
// int8 with i32 sums, or e4m3 with f32 sums. mma.sync on NVIDIA GPUs (int8 since sm_75, e4m3 since
// sm_89; before that e4m3 is widened to f16), shuffles elsewhere. Every device keeps the fragments
// as PTX's m16n8k32 lays them out; with g = lane / 4 and t = lane % 4:
//   a: 4 bytes each of (row g, columns from 4t), (g + 8, 4t), (g, 4t + 16), (g + 8, 4t + 16)
//   b: 4 bytes each of (rows from 4t, column g), (4t + 16, g)
//   d: (row g, columns 2t and 2t + 1), (g + 8, both)
#pragma once

#include "device/mma.h"

namespace vllm::device {

#if VLLM_KERNELS

struct BytesA {
  uint32_t words[4];
};
struct BytesB {
  uint32_t words[2];
};

template <typename Q>
struct ByteSumOf {
  using type = float;
};
template <>
struct ByteSumOf<int8_t> {
  using type = int32_t;
};
template <typename Q>
struct ByteSums {
  typename ByteSumOf<Q>::type values[4];
};

// Four matrices of 8 rows of 16 bytes in shared memory; row(i) is where row i % 8 of matrix i / 8
// starts. The lane takes bytes 4t to 4t + 3 of row g of each.
template <typename RowAt>
VLLM_DEVICE void LoadByteMatrices(uint32_t (&words)[4], const RowAt& row) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row(MmaLane())));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
#else
  VLLM_UNROLL()
  for (int i = 0; i < 4; ++i) {
    const uint8_t* at = row(8 * i + MmaLane() / 4) + MmaLane() % 4 * 4;
    words[i] = BitCast<uint32_t>(LoadVector<4>(at));
  }
#endif
}

VLLM_DEVICE int32_t DotBytes(uint32_t a, uint32_t b) {
  int32_t sum = 0;
  VLLM_UNROLL()
  for (int i = 0; i < 32; i += 8) {
    sum += int32_t{static_cast<int8_t>(a >> i)} * int32_t{static_cast<int8_t>(b >> i)};
  }
  return sum;
}

VLLM_DEVICE void MmaBytes(ByteSums<int8_t>& d, const BytesA& a, const BytesB& b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(d.values[0]), "+r"(d.values[1]), "+r"(d.values[2]), "+r"(d.values[3])
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b.words[0]),
        "r"(b.words[1]));
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750
  VLLM_UNROLL()
  for (int i = 0; i < 4; ++i) {
    const int half = i % 2;
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
                 : "+r"(d.values[half * 2]), "+r"(d.values[half * 2 + 1])
                 : "r"(a.words[i]), "r"(b.words[i / 2]));
  }
#else
  VLLM_UNROLL(1)
  for (int owner = 0; owner < 4; ++owner) {
    const MmaColumns columns = ShareColumns(b.words, owner);
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      const TwoWords rows = ShareRows(a.words, owner, half);
      const uint32_t left = half ? columns.left.high : columns.left.low;
      const uint32_t right = half ? columns.right.high : columns.right.low;
      d.values[0] += DotBytes(rows.low, left);
      d.values[1] += DotBytes(rows.low, right);
      d.values[2] += DotBytes(rows.high, left);
      d.values[3] += DotBytes(rows.high, right);
    }
  }
#endif
}

// Two of a word's e4m3 values as f16, which holds every one of them exactly.
VLLM_DEVICE uint32_t HalvesOfBytes(uint32_t word, int first) {
  const auto value = [&](int i) { return ToFloat(Fp8E4M3{static_cast<uint8_t>(word >> (8 * i))}); };
  return PackPair<Float16>(value(first), value(first + 1));
}

VLLM_DEVICE void MmaBytes(ByteSums<Fp8E4M3>& d, const BytesA& a, const BytesB& b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d.values[0]), "+f"(d.values[1]), "+f"(d.values[2]), "+f"(d.values[3])
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b.words[0]),
        "r"(b.words[1]));
#else
  // A lane's 4 bytes of k are two pairs of k16: the order of k is the same in a and in b.
  FragmentD sums{{d.values[0], d.values[1], d.values[2], d.values[3]}};
  VLLM_UNROLL()
  for (int half = 0; half < 2; ++half) {
    const uint32_t upper = a.words[half * 2], lower = a.words[half * 2 + 1], c = b.words[half];
    Mma<Float16>(sums,
                 {{HalvesOfBytes(upper, 0), HalvesOfBytes(lower, 0), HalvesOfBytes(upper, 2),
                   HalvesOfBytes(lower, 2)}},
                 {{HalvesOfBytes(c, 0), HalvesOfBytes(c, 2)}});
  }
  for (int i = 0; i < 4; ++i) d.values[i] = sums.values[i];
#endif
}

// 16-bit floats: 32 bytes of a row are 16 elements, and lie in the fragments as m16n8k16 has them.
template <typename T>
VLLM_DEVICE void MmaBytes(ByteSums<T>& d, const BytesA& a, const BytesB& b) {
  static_assert(sizeof(T) == 2);
  FragmentD sums{{d.values[0], d.values[1], d.values[2], d.values[3]}};
  Mma<T>(sums, {{a.words[0], a.words[1], a.words[2], a.words[3]}}, {{b.words[0], b.words[1]}});
  for (int i = 0; i < 4; ++i) d.values[i] = sums.values[i];
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
