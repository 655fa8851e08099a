// One product of bytes with its scales, as CUTLASS's templates spell it. Sources that include this
// compile for sm_90a alone, and take CUTLASS's options.
#pragma once

#include <cutlass/cutlass.h>
#include <cutlass/gemm/device/gemm_universal_adapter.h>
#include <cutlass/epilogue/collective/collective_builder.hpp>
#include <cutlass/gemm/collective/collective_builder.hpp>
#include <cutlass/gemm/kernel/gemm_universal.hpp>

#include <stdexcept>
#include <string>
#include <type_traits>

#include "device/compat.h"
#include "device/dispatch.h"
#include "device/scaled_mm.h"

namespace vllm::hopper {

using cute::_0;
using cute::_1;
using cute::_128;
using cute::_2;
using cute::Shape;
using cute::Stride;
namespace collective = cutlass::epilogue::collective;
namespace fusion = cutlass::epilogue::fusion;

// Two blocks share what they read of b. One of a block's two groups of warps multiplies while the
// other stores.
using BlockTile = Shape<_128, _128, _128>;
using Cluster = Shape<_2, _1, _1>;

// A value of each row, of each column, or by Step = bool of all where it is false.
template <typename T, typename Step>
using OfRows = fusion::Sm90ColBroadcast<0, BlockTile, T, T, Stride<Step, _0, _0>>;
template <typename T, typename Step>
using OfColumns = fusion::Sm90RowBroadcast<0, BlockTile, T, T, Stride<_0, Step, _0>>;

// To = Op of From.
template <template <class> class Op, typename To, typename From, typename... Arguments>
using Compute =
    fusion::Sm90EVT<fusion::Sm90Compute<Op, To, From, cutlass::FloatRoundStyle::round_to_nearest>,
                    Arguments...>;

// CUTLASS describes matrices to TMA by a function of the driver, which needs the device's context
// to be current in the calling thread; where it is not, CUTLASS goes on with a description of
// nothing. Setting a device makes its context current, also while a graph is captured. torch leaves
// it out where the device is the one that a new thread begins with.
inline void BindContext(const char* op) {
  int device = 0;
  device::CheckRuntime(op, cudaGetDevice(&device));
  device::CheckRuntime(op, cudaSetDevice(device));
}

// out = a_scales * (b_scales * (sums - zero_points * adjust)) + bias; the inner difference is of
// i32 sums alone. A missing vector of zero points is ones, of adjustments or bias zeros.
template <typename Q, typename Out>
struct ScaledProduct {
  static constexpr bool kInt8 = std::is_same_v<Q, int8_t>;
  using Sum = std::conditional_t<kInt8, int32_t, float>;
  using Zeros =
      Compute<cutlass::multiplies, int32_t, int32_t, OfRows<int32_t, _1>, OfColumns<int32_t, _1>>;
  using Adjusted = Compute<cutlass::minus, float, int32_t, fusion::Sm90AccFetch, Zeros>;
  using Sums = std::conditional_t<kInt8, Adjusted, fusion::Sm90AccFetch>;
  using ByColumn = Compute<cutlass::multiplies, float, float, OfColumns<float, bool>, Sums>;
  using Stored = Compute<cutlass::homogeneous_multiply_add, Out, float, OfRows<float, bool>,
                         ByColumn, OfColumns<Out, _1>>;

  using RowMajor = cutlass::layout::RowMajor;
  static constexpr int kOutAlignment = 16 / sizeof(Out);
  using Epilogue = typename collective::CollectiveBuilder<
      cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, BlockTile, Cluster,
      collective::EpilogueTileAuto, Sum, float, void, RowMajor, kOutAlignment, Out, RowMajor,
      kOutAlignment, cutlass::epilogue::TmaWarpSpecialized, Stored>::CollectiveOp;
  // e4m3 is summed in the tensor core for all of k, as cuBLAS does for use_fast_accum: adding to
  // registers after every 128 of it would take about a fifth of the rate.
  using Schedule = std::conditional_t<kInt8, cutlass::gemm::KernelTmaWarpSpecializedPingpong,
                                      cutlass::gemm::KernelTmaWarpSpecializedPingpongFP8FastAccum>;
  using Stages = cutlass::gemm::collective::StageCountAutoCarveout<static_cast<int>(
      sizeof(typename Epilogue::SharedStorage))>;
  using Mainloop = typename cutlass::gemm::collective::CollectiveBuilder<
      cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, Q, RowMajor, 16, Q,
      cutlass::layout::ColumnMajor, 16, Sum, BlockTile, Cluster, Stages, Schedule>::CollectiveOp;
  using Gemm = cutlass::gemm::device::GemmUniversalAdapter<
      cutlass::gemm::kernel::GemmUniversal<Shape<int, int, int, int>, Mainloop, Epilogue>>;

  static typename Gemm::Arguments Arguments(const device::ScaledMm& mm) {
    const auto rows = [](int64_t stride) { return Stride<int64_t, _1, int64_t>{stride, _1{}, 0}; };
    typename Sums::Arguments sums{};
    if constexpr (kInt8) sums = {{}, {{mm.zero_points, 1, {}}, {mm.adjust, 0, {}}, {}}, {}};
    typename Gemm::Arguments arguments{};
    arguments.mode = cutlass::gemm::GemmUniversalMode::kGemm;
    arguments.problem_shape = {static_cast<int>(mm.m), static_cast<int>(mm.n),
                               static_cast<int>(mm.k), 1};
    arguments.mainloop = {reinterpret_cast<const Q*>(mm.a), rows(mm.a_stride),
                          reinterpret_cast<const Q*>(mm.b), rows(mm.b_stride)};
    arguments.epilogue.ptr_D = static_cast<Out*>(mm.out.data);
    arguments.epilogue.dD = rows(mm.out.stride);
    arguments.epilogue.thread = {
        {mm.a_scales, 0, {mm.a_scale_step != 0, {}, {}}},
        {{mm.b_scales, 0, {{}, mm.b_scale_step != 0, {}}}, sums, {}},
        {static_cast<const Out*>(mm.out.addend), Out(0), {}},
        {},
    };
    arguments.hw_info.sm_count = device::Multiprocessors();
    return arguments;
  }

  static void Run(const device::ScaledMm& mm) {
    BindContext(mm.op);
    const auto arguments = Arguments(mm);
    const auto check = [&](cutlass::Status status) {
      if (status == cutlass::Status::kSuccess) return;
      throw std::runtime_error(std::string(mm.op) +
                               ": CUTLASS reports: " + cutlass::cutlassGetStatusString(status));
    };
    check(Gemm::can_implement(arguments));
    // Its scheduler keeps nothing in memory.
    check(Gemm().run(arguments, nullptr, static_cast<cudaStream_t>(mm.stream)));
  }
};

template <typename Q>
void RunScaledProduct(const device::ScaledMm& mm) {
  if (mm.out.type == device::Type::kBFloat16) {
    return ScaledProduct<Q, cutlass::bfloat16_t>::Run(mm);
  }
  if (mm.out.type == device::Type::kFloat16) return ScaledProduct<Q, cutlass::half_t>::Run(mm);
  device::FailType(mm.op);
}

}  // namespace vllm::hopper
