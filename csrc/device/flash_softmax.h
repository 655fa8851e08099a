// The softmax of attention that goes over its keys tile by tile (Milakov and Gimelshein, 2018): a
// running maximum and sum, and what was summed of the values so far, of two rows of mma.h's
// fragments a lane.
#pragma once

#include "device/mma.h"
#include "device/reduce.h"

namespace vllm::device {

#if VLLM_KERNELS

constexpr int kMmaRows = 16;  // of 32 lanes

template <int kOutTiles>
struct SoftmaxState {
  // Below every logit, so that rows that see no key of a tile stay at weights of 0.
  float maximum[2] = {Max::kNeutral, Max::kNeutral};
  float sum[2] = {0.0f, 0.0f};  // of this lane's keys
  FragmentD out[kOutTiles];

  VLLM_DEVICE SoftmaxState() {
    VLLM_UNROLL()
    for (int n = 0; n < kOutTiles; ++n) out[n] = FragmentD{};
  }

  // Logits of a tile become its weights; the state follows.
  template <int kKeyTiles>
  VLLM_DEVICE void Weigh(FragmentD (&logits)[kKeyTiles]) {
    VLLM_UNROLL()
    for (int half = 0; half < 2; ++half) {
      float largest = maximum[half];
      VLLM_UNROLL()
      for (int i = 0; i < 2 * kKeyTiles; ++i) {
        largest = fmaxf(largest, logits[i / 2].values[half * 2 + i % 2]);
      }
      // The four lanes that hold the row.
      largest = ReduceLanes<Max>(largest, 4);
      const float factor = __expf(maximum[half] - largest);
      maximum[half] = largest;
      sum[half] *= factor;
      VLLM_UNROLL()
      for (int i = 0; i < 2 * kKeyTiles; ++i) {
        float& x = logits[i / 2].values[half * 2 + i % 2];
        x = __expf(x - largest);
        sum[half] += x;
      }
      VLLM_UNROLL()
      for (int n = 0; n < kOutTiles; ++n) {
        out[n].values[half * 2] *= factor;
        out[n].values[half * 2 + 1] *= factor;
      }
    }
  }

  // values: [keys, 8 * kOutTiles] in shared memory, as LoadBOfColumns takes them.
  template <typename T, int kKeyTiles>
  VLLM_DEVICE void AddValues(const FragmentD (&weights)[kKeyTiles], const T* values, int stride) {
    VLLM_UNROLL()
    for (int k = 0; k < kKeyTiles * 8; k += 16) {
      // Two results of 8 columns are, lane by lane, one operand of 16.
      const FragmentD &left = weights[k / 8], &right = weights[k / 8 + 1];
      const FragmentA p{{PackPair<T>(left.values[0], left.values[1]),
                         PackPair<T>(left.values[2], left.values[3]),
                         PackPair<T>(right.values[0], right.values[1]),
                         PackPair<T>(right.values[2], right.values[3])}};
      VLLM_UNROLL()
      for (int n = 0; n < kOutTiles; ++n) {
        Mma<T>(out[n], p, LoadBOfColumns(values + k * stride + n * 8, stride));
      }
    }
  }
};

#endif  // VLLM_KERNELS

}  // namespace vllm::device
