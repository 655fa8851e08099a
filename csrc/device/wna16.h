// Linear layers whose weights are codes of 2, 3, 4 or 8 bits in groups of rows that share a scale
// and a zero: weight[k, n] = (code[k, n] - zero[group(k), n]) * scale[group(k), n]. Activations are
// bf16 or f16, sums f32.
#pragma once

#include "device/numeric.h"

namespace vllm::device {

enum class CodeType : uint8_t { kUint2, kUint3, kUint4, kUint8, kE4M3 };

VLLM_HOST_DEVICE constexpr int BitsOf(CodeType type) {
  return type == CodeType::kUint2   ? 2
         : type == CodeType::kUint3 ? 3
         : type == CodeType::kUint4 ? 4
                                    : 8;
}

// Where words of 32 bits hold the codes.
enum class CodeLayout : uint8_t {
  // A stream of bits down each column, lowest first: i32 [k * bits / 32, n].
  kColumns,
  // Neighbouring columns a word, the even ones before the odd ones: i32 [k, n * bits / 32] (AWQ).
  // Products take this of 4 bits.
  kInterleavedRows
};

// Where a row of n scales, zeros or biases holds column n.
enum class ColumnOrder : uint8_t { kPlain, kMarlinGroups, kMarlinChannels };

enum class ZeroLayout : uint8_t {
  kNone,         // all zeros are `zero`
  kStream,       // a stream of bits along each row, `zero` less: i32 [groups, n * bits / 32]
  kInterleaved,  // words of codes, the even ones before the odd ones, `zero` less
};

struct QuantizedMatrix {
  const uint32_t* codes;
  const void* scales;  // [groups, n], of the activations' type
  const uint32_t* zeros;
  const int32_t* group_of;  // [k], or null: k / group_size
  int k;
  int n;
  int groups;
  int group_size;
  float zero;
  float scale_factor;  // of every scale
  CodeType code_type;
  CodeLayout layout;
  ColumnOrder scale_order;
  ZeroLayout zero_layout;
  ColumnOrder zero_order;
};

struct QuantizedGemm {
  const char* op;
  const void* a;  // [m, k], rows start at multiples of 16 bytes
  int64_t a_stride;
  void* out;         // [m, n], contiguous
  const void* bias;  // [n] in the order of kMarlinChannels, or null
  QuantizedMatrix weight;
  int64_t m;
  Type type;
  Stream stream;
};
// Whether MultiplyQuantized can: groups of consecutive rows, a multiple of 32 each, and few enough
// rows of activations that the weights are not read again and again.
bool CanMultiplyQuantized(const QuantizedMatrix& weight, int64_t m);
void MultiplyQuantized(const QuantizedGemm& args);

struct Dequantize {
  const char* op;
  QuantizedMatrix weight;
  void* out;  // [k, n]
  Type type;
  Stream stream;
};
void DequantizeMatrix(const Dequantize& args);

// out [m, n] += bias, as QuantizedGemm has it.
struct AddBias {
  const char* op;
  void* out;
  const void* bias;
  int64_t m;
  int n;
  Type type;
  Stream stream;
};
void AddMarlinBias(const AddBias& args);

struct RepackCodes {
  const char* op;
  QuantizedMatrix from;        // codes, k (a multiple of 32), n, code_type and layout count
  const int32_t* permutation;  // row k of the result is row permutation[k], or null
  uint32_t* out;               // in columns
  Stream stream;
};
void RepackToColumns(const RepackCodes& args);

// out[m, i] = a[m, permutation[i]], 16-bit elements.
struct GatherColumns {
  const char* op;
  const void* a;
  int64_t a_stride;
  const int32_t* permutation;
  void* out;  // [m, k]
  int64_t m;
  int k;
  Stream stream;
};
void GatherColumnsOf(const GatherColumns& args);

}  // namespace vllm::device
