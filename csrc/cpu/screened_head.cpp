#include "cpu/screened_head.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "cpu/quantize_weight.h"
#include "cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/screened_head.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h
#include "core/isa.h"
#include "cpu/vec-inl.h"

#ifndef VLLM_CPU_SCREENED_HEAD_NORMS_
#define VLLM_CPU_SCREENED_HEAD_NORMS_
namespace vllm {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Of a row that was rounded.
struct RoundedNorms {
  float error;   // of the difference
  float before;  // of the row
  float after;   // of what it was rounded to
};

}  // namespace vllm
#endif  // VLLM_CPU_SCREENED_HEAD_NORMS_

HWY_BEFORE_NAMESPACE();
namespace vllm {
namespace HWY_NAMESPACE {

// Adds the squares of a row, of what it is rounded to and of the difference.
HWY_INLINE void AddSquares(VF32 value, VF32 rounded, VF32& error, VF32& before, VF32& after) {
  const VF32 difference = hn::Sub(value, rounded);
  error = hn::MulAdd(difference, difference, error);
  before = hn::MulAdd(value, value, before);
  after = hn::MulAdd(rounded, rounded, after);
}

// From sums over values in units of `unit`, which keep squares of tiny values from vanishing.
// Without a unit there is no bound.
HWY_INLINE RoundedNorms Norms(float unit, VF32 error, VF32 before, VF32 after) {
  const F32 d;
  if (!(unit >= std::numeric_limits<float>::min())) unit = kInfinity;
  return {unit * std::sqrt(hn::ReduceSum(d, error)), unit * std::sqrt(hn::ReduceSum(d, before)),
          unit * std::sqrt(hn::ReduceSum(d, after))};
}

// A row of the weight and the codes of QuantizeWeightRows, in units of the row's scale.
template <typename T>
RoundedNorms NormsOfWeightRow(const T* HWY_RESTRICT row, const uint8_t* HWY_RESTRICT codes,
                              float scale, int64_t k) {
  if (scale == 0.0f) return {};
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const hn::Rebind<uint8_t, F32> du8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF32 inverse = hn::Set(d, 1.0f / scale);
  VF32 error = hn::Zero(d), before = error, after = error;
  for (int64_t i = 0; i < k; i += lanes) {
    const size_t n = static_cast<size_t>(std::min(lanes, k - i));
    const auto code = hn::Sub(hn::PromoteTo(di, hn::LoadN(du8, codes + i, n)), hn::Set(di, 128));
    // Lanes past the last column have no code, so their zero must not be one.
    const VF32 rounded = hn::IfThenElseZero(hn::FirstN(d, n), hn::ConvertTo(d, code));
    AddSquares(hn::Mul(LoadF32N(d, row + i, n), inverse), rounded, error, before, after);
  }
  return Norms(scale, error, before, after);
}

// A row of the input, rounded as the quantised kernel does it, in units of its largest value.
template <typename T>
RoundedNorms NormsOfInputRow(const T* HWY_RESTRICT row, int64_t k) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const float largest = LargestMagnitude(row, k);
  if (largest == 0.0f) return {};
  const VF32 unit = hn::Set(d, 1.0f / largest);
  VF32 error = hn::Zero(d), before = error, after = error;
  for (int64_t begin = 0; begin < k; begin += kScreenGroup) {
    const int64_t end = std::min(begin + kScreenGroup, k);
    const float bound = LargestMagnitude(row + begin, end - begin);
    const VF32 inverse = hn::Set(d, bound > 0.0f ? 127.0f / bound : 0.0f);
    const VF32 scale = hn::Set(d, bound / 127.0f / largest);
    for (int64_t i = begin; i < end; i += lanes) {
      const VF32 x = LoadF32N(d, row + i, static_cast<size_t>(std::min(lanes, end - i)));
      const VF32 rounded = hn::Mul(hn::Round(hn::Mul(x, inverse)), scale);
      AddSquares(hn::Mul(x, unit), rounded, error, before, after);
    }
  }
  return Norms(largest, error, before, after);
}

void NormsOfWeightRows(const QuantizeWeightArgs& args, int64_t begin, int64_t end,
                       RoundedNorms* norms) {
  VLLM_FOR_DTYPE(args.dtype, T, {
    for (int64_t i = begin; i < end; ++i) {
      norms[i] = NormsOfWeightRow(static_cast<const T*>(args.weight) + i * args.row_stride,
                                  args.codes + i * args.k, args.scales[i], args.k);
    }
  });
}

void NormsOfInputRows(const ScreenedArgmaxArgs& args, RoundedNorms* norms) {
  VLLM_FOR_DTYPE(args.head.dtype, T, {
    for (int64_t i = 0; i < args.m; ++i) {
      norms[i] =
          NormsOfInputRow(static_cast<const T*>(args.input) + i * args.input_stride, args.head.k);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace vllm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vllm {

HWY_EXPORT(NormsOfWeightRows);
HWY_EXPORT(NormsOfInputRows);

namespace {

// Rows of the head that are quantised at a time: bounds what is needed beside the result.
constexpr int64_t kSliceRows = 64 * kPanelWidth;

// One panel of a weight as a weight of its own.
LinearWeight PanelOf(const LinearWeight& weight, int64_t panel) {
  LinearWeight part = weight;
  part.packed =
      static_cast<const char*>(weight.packed) + panel * PanelElements(weight.k, weight.dtype) *
                                                    static_cast<int64_t>(ElementSize(weight.dtype));
  part.n = std::min(kPanelWidth, weight.n - panel * kPanelWidth);
  return part;
}

// `args` without codes and scales, which `scratch` holds.
void ScreenSlice(QuantizeWeightArgs args, Scratch& scratch, uint8_t* panels, ScreenNorms* norms) {
  const size_t rows = static_cast<size_t>(args.n), elements = rows * static_cast<size_t>(args.k);
  args.scales = scratch.Get<float>(rows + elements / sizeof(float) + 1);
  args.codes = reinterpret_cast<uint8_t*>(args.scales + rows);
  QuantizeWeightRows(args);
  PackQuantizedPanels(ScreenOf(args.n, args.k), {args.codes, args.scales, nullptr}, panels);
  std::vector<RoundedNorms> of_rows(rows);
  const auto run = VLLM_DISPATCH(NormsOfWeightRows);
  ParallelFor(args.n, args.k,
              [&](int64_t begin, int64_t end) { run(args, begin, end, of_rows.data()); });
  for (int64_t i = 0; i < args.n; ++i) {
    const RoundedNorms& row = of_rows[static_cast<size_t>(i)];
    ScreenNorms& panel = norms[i / kPanelWidth];
    if (i % kPanelWidth == 0) panel = {0.0f, 0.0f};
    // A row that is not finite leaves its panel without a bound.
    const bool finite = std::isfinite(row.error) && std::isfinite(row.after);
    panel.error = std::max(panel.error, finite ? row.error : kInfinity);
    panel.norm = std::max(panel.norm, finite ? row.after : kInfinity);
  }
}

// How far the quantised kernel's logits of one panel may be from the head's, with the rounding
// errors of both: of sums of k products, at most k ulps of |x| |w|, and what is too small for f32.
float Distance(const RoundedNorms& x, const ScreenNorms& w, int64_t k) {
  constexpr float kNormsRounding = 1.001f;
  const float input = std::max(x.before, x.after), weight = w.norm + w.error;
  const float terms = static_cast<float>(k + 64);
  return kNormsRounding * (x.before * w.error + x.error * w.norm) +
         terms * std::numeric_limits<float>::epsilon() * input * weight +
         terms * std::numeric_limits<float>::min() * (1.0f + input + weight);
}

struct Likeliest {
  float logit = -kInfinity;
  int64_t token = std::numeric_limits<int64_t>::max();

  void Offer(float value, int64_t id) {
    if (value > logit || (value == logit && id < token)) *this = {value, id};
  }
};

// One call. Of each row the panel whose rounded logits are the largest is computed first: what it
// reaches rules out nearly all others.
class Search {
 public:
  Search(const ScreenedArgmaxArgs& args, float* bounds)
      : args_(args),
        panels_(PanelCount(args.head.n, PackOrder::kPlain)),
        bounds_(bounds),
        found_(static_cast<size_t>(args.m)) {}

  // Turns the largest rounded logits of each panel into what none of the panel's logits exceeds.
  void Bound() {
    std::vector<RoundedNorms> norms(found_.size());
    VLLM_DISPATCH(NormsOfInputRows)(args_, norms.data());
    ParallelFor(args_.m, panels_, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) BoundRow(row, norms[static_cast<size_t>(row)]);
    });
  }

  void ComputeLikeliestPanels() {
    ParallelFor(args_.m, kPanelWidth * args_.head.k, [&](int64_t begin, int64_t end) {
      Buffers buffers(args_, 1);
      for (int64_t row = begin; row < end; ++row) {
        float* of_row = bounds_ + row * panels_;
        const int64_t panel = std::max_element(of_row, of_row + panels_) - of_row;
        buffers.rows.assign(1, row);
        Compute(panel, buffers, found_.data());
        of_row[panel] = -kInfinity;
      }
      computed_.fetch_add(end - begin, std::memory_order_relaxed);
    });
  }

  void ComputeOthers() {
    const int threads = static_cast<int>(std::min<int64_t>(MaxThreads(), panels_));
    std::vector<Likeliest> found(static_cast<size_t>(threads) * found_.size());
    std::atomic<int64_t> next{0};
    RunParallel(threads, [&](const Worker& worker) {
      constexpr int64_t kRun = 64;  // panels that a thread takes at a time
      Buffers buffers(args_, args_.m);
      Likeliest* own = found.data() + worker.index * args_.m;
      for (int64_t run; (run = next.fetch_add(kRun, std::memory_order_relaxed)) < panels_;) {
        for (int64_t panel = run; panel < std::min(run + kRun, panels_); ++panel) {
          FindRows(panel, buffers.rows);
          if (!buffers.rows.empty()) Compute(panel, buffers, own);
          computed_.fetch_add(static_cast<int64_t>(buffers.rows.size()), std::memory_order_relaxed);
        }
      }
    });
    for (size_t i = 0; i < found.size(); ++i) {
      found_[i % found_.size()].Offer(found[i].logit, found[i].token);
    }
  }

  int64_t Token(int64_t row) const {
    const int64_t token = found_[static_cast<size_t>(row)].token;
    return token < args_.head.n ? token : 0;
  }
  float Logit(int64_t row) const { return found_[static_cast<size_t>(row)].logit; }
  int64_t Computed() const { return computed_.load(); }

 private:
  // A thread's.
  struct Buffers {
    Buffers(const ScreenedArgmaxArgs& args, int64_t m)
        : row_bytes(static_cast<size_t>(args.head.k) * ElementSize(args.head.dtype)),
          input(row_bytes * static_cast<size_t>(m)),
          logits(static_cast<size_t>(m * kPanelWidth)) {}

    size_t row_bytes;
    std::vector<char> input;
    std::vector<float> logits;
    std::vector<int64_t> rows;
  };

  void BoundRow(int64_t row, const RoundedNorms& norms) {
    float* of_row = bounds_ + row * panels_;
    for (int64_t panel = 0; panel < panels_; ++panel) {
      const float bound = of_row[panel] + Distance(norms, args_.norms[panel], args_.head.k);
      of_row[panel] = bound <= kInfinity ? bound : kInfinity;  // NaN bounds nothing
    }
  }

  void FindRows(int64_t panel, std::vector<int64_t>& rows) const {
    rows.clear();
    for (int64_t row = 0; row < args_.m; ++row) {
      const float bound = bounds_[row * panels_ + panel];
      if (bound >= found_[static_cast<size_t>(row)].logit && bound > -kInfinity) {
        rows.push_back(row);
      }
    }
  }

  // Offers `found` [m] the panel's logits of buffers.rows. A panel is one thread's work.
  void Compute(int64_t panel, Buffers& buffers, Likeliest* found) const {
    const int64_t stride = args_.input_stride * static_cast<int64_t>(ElementSize(args_.head.dtype));
    char* to = buffers.input.data();
    for (const int64_t row : buffers.rows) {
      std::memcpy(to, static_cast<const char*>(args_.input) + row * stride, buffers.row_bytes);
      to += buffers.row_bytes;
    }
    const LinearWeight weight = PanelOf(args_.head, panel);
    const float* logits = buffers.logits.data();
    Linear({weight, buffers.input.data(), static_cast<int64_t>(buffers.rows.size()), weight.k,
            nullptr, buffers.logits.data(), kPanelWidth, DType::kFloat32});
    for (const int64_t row : buffers.rows) {
      for (int64_t i = 0; i < weight.n; ++i) found[row].Offer(logits[i], panel * kPanelWidth + i);
      logits += kPanelWidth;
    }
  }

  const ScreenedArgmaxArgs& args_;
  int64_t panels_;
  float* bounds_;  // [m][panels]; -infinity where a panel is done with
  std::vector<Likeliest> found_;
  std::atomic<int64_t> computed_{0};
};

}  // namespace

QuantizedWeight ScreenOf(int64_t n, int64_t k) {
  QuantizedWeight weight{};
  weight.n = n;
  weight.k = k;
  weight.group_size = std::min(kScreenGroup, weight.PaddedK());
  weight.bits = 8;
  weight.order = PackOrder::kPlain;
  return weight;
}

void ScreenHead(const void* weight, int64_t row_stride, int64_t n, int64_t k, DType dtype,
                void* packed, ScreenNorms* norms) {
  const QuantizedWeight screen = ScreenOf(n, k);
  WriteQuantizedPrefix(screen, packed);
  uint8_t* panels = static_cast<uint8_t*>(packed) + screen.PrefixBytes();
  Scratch scratch;
  for (int64_t first = 0; first < n; first += kSliceRows) {
    QuantizeWeightArgs slice{};
    slice.weight = static_cast<const char*>(weight) +
                   first * row_stride * static_cast<int64_t>(ElementSize(dtype));
    slice.dtype = dtype;
    slice.row_stride = row_stride;
    slice.n = std::min(kSliceRows, n - first);
    slice.k = k;
    const int64_t panel = first / kPanelWidth;
    ScreenSlice(slice, scratch, panels + panel * screen.PanelBytes(), norms + panel);
  }
}

int64_t ScreenedArgmax(const ScreenedArgmaxArgs& args) {
  if (args.m == 0) return 0;
  static thread_local Scratch scratch;
  const int64_t panels = PanelCount(args.head.n, PackOrder::kPlain);
  float* maxima = scratch.Get<float>(static_cast<size_t>(args.m * panels));
  QuantizedLinear({args.screen, args.input, args.head.dtype, args.m, args.input_stride, nullptr,
                   maxima, panels, DType::kFloat32, LinearResult::kPanelMaxima});
  Search search(args, maxima);
  search.Bound();
  search.ComputeLikeliestPanels();
  search.ComputeOthers();
  for (int64_t row = 0; row < args.m; ++row) {
    args.tokens[row] = search.Token(row);
    args.logits[row] = search.Logit(row);
  }
  return search.Computed();
}

}  // namespace vllm
#endif  // HWY_ONCE
