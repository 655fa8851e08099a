"""Products with weights of 2 to 8 bits on GPUs, under the names of vLLM's kernels.

Activations are bf16 or f16, scales are of their type, packed words i32. A tensor that does not fit raises RuntimeError,
a build without these kernels ImportError.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vllm.kernels import gpu_only, load
from vllm.scalar_type import ScalarType

load()


def _ops() -> Any:
    return gpu_only.ops("_C", "marlin_gemm", "multiplies such weights on the CPU only")


def gptq_gemm(
    a: Tensor, b_q_weight: Tensor, b_gptq_qzeros: Tensor, b_gptq_scales: Tensor, b_g_idx: Tensor, use_exllama: bool,
    use_v2_format: bool, bit: int,
) -> Tensor:  # fmt: skip
    """``a @ weight``: a ``[m, k]``, result ``[m, n]``.

    Args:
        b_q_weight: ``[k * bit / 32, n]``, a stream of bits down each column, the lowest first.
        b_gptq_qzeros: ``[groups, n * bit / 32]``, streams along the rows, of zeros less one; with `use_v2_format` of
            zeros.
        b_gptq_scales: ``[groups, n]``.
        b_g_idx: i32 ``[k]`` or empty. With `use_exllama` the order that `gptq_shuffle` gave to the rows, else the group
            of each row. Empty: groups are consecutive rows.
        bit: 2, 3, 4 or 8.
    """
    zeros, scales = b_gptq_qzeros, b_gptq_scales
    return _ops().gptq_gemm.default(a, b_q_weight, zeros, scales, b_g_idx, use_exllama, use_v2_format, bit)


def gptq_shuffle(q_weight: Tensor, q_perm: Tensor, bit: int) -> None:
    """Bring the rows of ``[k * bit / 32, n]`` into the order `q_perm`, i32 ``[k]``, in place; empty: as they are."""
    _ops().gptq_shuffle.default(q_weight, q_perm, bit)


def awq_gemm(input: Tensor, qweight: Tensor, scales: Tensor, qzeros: Tensor, split_k_iters: int) -> Tensor:
    """``input @ weight`` of AWQ's layout: qweight ``[k, n / 8]``, scales ``[groups, n]``, qzeros ``[groups, n / 8]``.

    Words hold columns 0, 2, 4, 6, 1, 3, 5 and 7, the first in the lowest bits. `split_k_iters` is upstream's.
    """
    return _ops().awq_gemm.default(input, qweight, scales, qzeros, split_k_iters)


def awq_dequantize(qweight: Tensor, scales: Tensor, zeros: Tensor, split_k_iters: int, thx: int, thy: int) -> Tensor:
    """The weight itself, ``[k, n]`` of the scales' type; see `awq_gemm`. The last three arguments are upstream's."""
    return _ops().awq_dequantize.default(qweight, scales, zeros, split_k_iters, thx, thy)


def gptq_marlin_repack(
    b_q_weight: Tensor, perm: Tensor, size_k: int, size_n: int, num_bits: int, is_a_8bit: bool = False
) -> Tensor:
    """GPTQ's words, rows in the order `perm` (i32 ``[k]``, or empty), as `marlin_gemm` reads them: 4 or 8 bits."""
    return _ops().gptq_marlin_repack.default(b_q_weight, perm, size_k, size_n, num_bits, is_a_8bit)


def awq_marlin_repack(b_q_weight: Tensor, size_k: int, size_n: int, num_bits: int, is_a_8bit: bool = False) -> Tensor:
    """AWQ's words as `marlin_gemm` reads them: 4 or 8 bits."""
    return _ops().awq_marlin_repack.default(b_q_weight, size_k, size_n, num_bits, is_a_8bit)


def marlin_gemm(
    a: Tensor, c: Tensor | None, b_q_weight: Tensor, b_bias: Tensor | None, b_scales: Tensor, a_scales: Tensor | None,
    global_scale: Tensor | None, b_zeros: Tensor | None, g_idx: Tensor | None, perm: Tensor | None, workspace: Tensor,
    b_q_type: ScalarType, size_m: int, size_n: int, size_k: int, is_k_full: bool = True, use_atomic_add: bool = False,
    use_fp32_reduce: bool = False, is_zp_float: bool = False,
) -> Tensor:  # fmt: skip
    """``a @ weight + bias`` of repacked words; scales, zeros and bias in Marlin's order of columns.

    Args:
        a: ``[size_m, size_k]``.
        c: where the result goes, ``[size_m, size_n]``; None: a tensor of its own.
        b_q_weight: of `gptq_marlin_repack` or `awq_marlin_repack`, whose order of words is this package's own.
        b_scales: ``[groups, size_n]``; of e4m3 with 2^120 (bf16) or 2^8 (f16) folded in.
        b_zeros: ``[groups, size_n * bits / 32]`` of uint4 and uint8, whose even columns come first; else None.
        g_idx, perm: of rows in any order: their groups, sorted, and the permutation that sorted them.
        b_q_type: one of `vllm.scalar_type.scalar_types`.
        is_k_full: whether groups have equal numbers of rows, as those of a whole matrix have.
        a_scales, global_scale, is_zp_float: not offered: None, None and False. The other arguments are upstream's.
    """
    return _ops().marlin_gemm.default(
        a, c, b_q_weight, b_bias, b_scales, a_scales, global_scale, b_zeros, g_idx, perm, workspace, b_q_type.id,
        size_m, size_n, size_k, is_k_full, use_atomic_add, use_fp32_reduce, is_zp_float,
    )  # fmt: skip


def register_fakes(namespace: str) -> None:
    """Tell torch.compile the shapes of the ops' results."""

    def register(name: str):
        return torch.library.register_fake(f"{namespace}::{name}")

    @register("gptq_gemm")
    def _(a, b_q_weight, *rest):
        return a.new_empty(a.shape[0], b_q_weight.shape[1])

    @register("gptq_shuffle")
    def _(q_weight, q_perm, bit):
        return None

    @register("awq_gemm")
    def _(in_feats, kernel, scales, zeros, split_k_iters):
        return in_feats.new_empty(in_feats.shape[0], scales.shape[1])

    @register("awq_dequantize")
    def _(kernel, scales, *rest):
        return scales.new_empty(kernel.shape[0], scales.shape[1])

    @register("gptq_marlin_repack")
    def _(words, perm, size_k, size_n, num_bits, is_a_8bit):
        return words.new_empty(size_k // 16, size_n * num_bits // 2)

    @register("awq_marlin_repack")
    def _(words, size_k, size_n, num_bits, is_a_8bit):
        return words.new_empty(size_k // 16, size_n * num_bits // 2)

    @register("marlin_gemm")
    def _(a, c, words, bias, scales, *rest):
        return a.new_empty(a.shape[0], scales.shape[1])


if hasattr(torch.ops._C, "marlin_gemm"):
    register_fakes("_C")
