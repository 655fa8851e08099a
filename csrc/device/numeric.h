// Element types of device kernels, their conversion to and from f32 (round to nearest, ties to
// even), and vectors of up to 16 bytes that move as one access.
#pragma once

#include <cstring>
#include <type_traits>

#include "device/compat.h"

namespace vllm::device {

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};
// OCP 8-bit floats: e4m3 has no infinity and ends at 448, e5m2 ends at 57344.
struct Fp8E4M3 {
  uint8_t bits;
};
struct Fp8E5M2 {
  uint8_t bits;
};

enum class Type : uint8_t { kFloat32, kBFloat16, kFloat16, kFp8E4M3, kFp8E5M2, kInt8 };

inline bool IsAligned(const void* pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

#if VLLM_KERNELS

template <typename To, typename From>
VLLM_DEVICE To BitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

VLLM_DEVICE float ToFloat(float x) { return x; }
VLLM_DEVICE float ToFloat(int8_t x) { return static_cast<float>(x); }
VLLM_DEVICE float ToFloat(BFloat16 x) {
  return BitCast<float>(static_cast<uint32_t>(x.bits) << 16);
}

VLLM_DEVICE float ToFloat(Float16 x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
#elif defined(__CUDACC__)
  return 0.0f * static_cast<float>(x.bits);  // nvcc's pass over host code only needs a body
#else
  return static_cast<float>(BitCast<_Float16>(x.bits));
#endif
}

// An e4m3 pattern read as the high bits of an f16 is the value times 2^-8, subnormals included.
VLLM_DEVICE float ToFloat(Fp8E4M3 x) {
  const uint32_t magnitude = x.bits & 0x7fu;
  const uint32_t half = (static_cast<uint32_t>(x.bits & 0x80u) << 8) | (magnitude << 7);
  const float scaled = ToFloat(Float16{static_cast<uint16_t>(half)}) * 256.0f;
  return magnitude == 0x7fu ? BitCast<float>(0x7fc00000u) : scaled;
}

VLLM_DEVICE float ToFloat(Fp8E5M2 x) {
  return ToFloat(Float16{static_cast<uint16_t>(static_cast<uint32_t>(x.bits) << 8)});
}

// Magnitude bits of |x| rounded to `kMantissa` mantissa bits and an exponent of bias `kBias`, for
// 8-bit floats. |x| must not be above the type's largest value.
template <int kMantissa, int kBias>
VLLM_DEVICE uint32_t RoundToFp8(float magnitude) {
  constexpr int kDropped = 23 - kMantissa;
  constexpr uint32_t kSmallestNormal = static_cast<uint32_t>(128 - kBias) << 23;
  const uint32_t bits = BitCast<uint32_t>(magnitude);
  if (bits < kSmallestNormal) {
    // Adding a number whose last place is the smallest subnormal rounds to it.
    constexpr uint32_t kMagic = static_cast<uint32_t>(128 - kBias + kDropped) << 23;
    return BitCast<uint32_t>(magnitude + BitCast<float>(kMagic)) - kMagic;
  }
  const uint32_t rounded = bits + (1u << (kDropped - 1)) - 1 + ((bits >> kDropped) & 1);
  return (rounded >> kDropped) - (static_cast<uint32_t>(127 - kBias) << kMantissa);
}

VLLM_DEVICE bool IsNan(float x) { return x != x; }

template <typename T>
struct Converter;

template <>
struct Converter<float> {
  static VLLM_DEVICE float From(float x) { return x; }
};

template <>
struct Converter<BFloat16> {
  static VLLM_DEVICE BFloat16 From(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint16_t y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return {y};
#else
    const uint32_t bits = BitCast<uint32_t>(x);
    if (IsNan(x)) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
    return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
#endif
  }
};

template <>
struct Converter<Float16> {
  static VLLM_DEVICE Float16 From(float x) {
#if defined(__CUDA_ARCH__)
    uint16_t y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return {y};
#elif defined(__CUDACC__)
    return {static_cast<uint16_t>(x)};
#else
    return {BitCast<uint16_t>(static_cast<_Float16>(x))};
#endif
  }
};

// Saturates, infinity included; NaN stays NaN.
template <>
struct Converter<Fp8E4M3> {
  static constexpr float kMax = 448.0f;
  static VLLM_DEVICE Fp8E4M3 From(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    uint16_t pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
    return {static_cast<uint8_t>(pair)};
#else
    const uint32_t sign = BitCast<uint32_t>(x) >> 24 & 0x80u;
    if (IsNan(x)) return {static_cast<uint8_t>(sign | 0x7fu)};
    return {static_cast<uint8_t>(sign | RoundToFp8<3, 7>(fminf(fabsf(x), kMax)))};
#endif
  }
};

template <>
struct Converter<Fp8E5M2> {
  static constexpr float kMax = 57344.0f;
  static VLLM_DEVICE Fp8E5M2 From(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    uint16_t pair;
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
    return {static_cast<uint8_t>(pair)};
#else
    const uint32_t sign = BitCast<uint32_t>(x) >> 24 & 0x80u;
    if (IsNan(x)) return {static_cast<uint8_t>(sign | 0x7fu)};
    return {static_cast<uint8_t>(sign | RoundToFp8<2, 15>(fminf(fabsf(x), kMax)))};
#endif
  }
};

// Rounded to the nearest even integer, saturated to -128 ... 127.
template <>
struct Converter<int8_t> {
  static constexpr float kMax = 127.0f;
  static VLLM_DEVICE int8_t From(float x) {
    return static_cast<int8_t>(fminf(fmaxf(rintf(x), -128.0f), 127.0f));
  }
};

template <typename T>
VLLM_DEVICE T FromFloat(float x) {
  return Converter<T>::From(x);
}

template <typename T, int kCount>
struct alignas(sizeof(T) * kCount < 16 ? sizeof(T) * kCount : 16) Vector {
  T lanes[kCount];
};

template <int kBytes>
struct WordOf;
template <>
struct WordOf<1> {
  using type = uint8_t;
};
template <>
struct WordOf<2> {
  using type = uint16_t;
};
template <>
struct WordOf<4> {
  using type = uint32_t;
};
template <>
struct WordOf<8> {
  using type = uint2;
};
template <>
struct WordOf<16> {
  using type = uint4;
};

// `from` must be aligned to the vector's size, or to 16 bytes where that is larger.
template <int kCount, typename T>
VLLM_DEVICE Vector<T, kCount> LoadVector(const T* from) {
  constexpr int kBytes = sizeof(T) * kCount, kWord = kBytes < 16 ? kBytes : 16;
  using Word = typename WordOf<kWord>::type;
#if defined(VLLM_DEVICE_EMULATED)
  emulator::CheckAligned(from, kWord);
#endif
  Word words[kBytes / kWord];
  VLLM_UNROLL()
  for (int i = 0; i < kBytes / kWord; ++i) words[i] = reinterpret_cast<const Word*>(from)[i];
  Vector<T, kCount> vector;
  memcpy(&vector, words, kBytes);
  return vector;
}

template <int kCount, typename T>
VLLM_DEVICE void StoreVector(T* to, const Vector<T, kCount>& vector) {
  constexpr int kBytes = sizeof(T) * kCount, kWord = kBytes < 16 ? kBytes : 16;
  using Word = typename WordOf<kWord>::type;
#if defined(VLLM_DEVICE_EMULATED)
  emulator::CheckAligned(to, kWord);
#endif
  Word words[kBytes / kWord];
  memcpy(words, &vector, kBytes);
  VLLM_UNROLL()
  for (int i = 0; i < kBytes / kWord; ++i) reinterpret_cast<Word*>(to)[i] = words[i];
}

// Elements of a 16-byte access, at most `kLimit`.
template <typename T, int kLimit = 16>
constexpr int kVectorOf = 16 / sizeof(T) < kLimit ? 16 / sizeof(T) : kLimit;

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
constexpr bool kWidensPairs = true;
// Two 8-bit floats become two f16 in one instruction.
template <typename T>
VLLM_DEVICE uint32_t HalvesOfPair(T low, T high) {
  const auto pair = static_cast<uint16_t>(low.bits | (uint32_t{high.bits} << 8));
  uint32_t halves;
  if constexpr (std::is_same_v<T, Fp8E4M3>) {
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(pair));
  } else {
    asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(halves) : "h"(pair));
  }
  return halves;
}
#else
constexpr bool kWidensPairs = false;
template <typename T>
VLLM_DEVICE uint32_t HalvesOfPair(T, T) {
  return 0;
}
#endif

template <typename T, int kCount>
VLLM_DEVICE Vector<float, kCount> Widen(const Vector<T, kCount>& in) {
  Vector<float, kCount> out;
  if constexpr (kWidensPairs && kCount % 2 == 0 &&
                (std::is_same_v<T, Fp8E4M3> || std::is_same_v<T, Fp8E5M2>)) {
    VLLM_UNROLL()
    for (int i = 0; i < kCount; i += 2) {
      const uint32_t halves = HalvesOfPair(in.lanes[i], in.lanes[i + 1]);
      out.lanes[i] = ToFloat(Float16{static_cast<uint16_t>(halves)});
      out.lanes[i + 1] = ToFloat(Float16{static_cast<uint16_t>(halves >> 16)});
    }
  } else {
    VLLM_UNROLL()
    for (int i = 0; i < kCount; ++i) out.lanes[i] = ToFloat(in.lanes[i]);
  }
  return out;
}

template <typename T, int kCount>
VLLM_DEVICE Vector<T, kCount> Narrow(const Vector<float, kCount>& in) {
  Vector<T, kCount> out;
  VLLM_UNROLL()
  for (int i = 0; i < kCount; ++i) out.lanes[i] = FromFloat<T>(in.lanes[i]);
  return out;
}

#endif  // VLLM_KERNELS

}  // namespace vllm::device
