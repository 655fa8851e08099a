"""``d = a @ b.T`` of fp8 and of bf16 matrices, alone and for the experts of a mixture.

Matrices of fp8 come with their scales as pairs: ``a = (e4m3 [m, k], f32 [m, k / 128])`` and
``b = (e4m3 [n, k], f32 [n / 128, k / 128])``, the last blocks of rows and columns cut. Scales may have any strides, so
what :func:`vllm.deep_gemm.get_mn_major_tma_aligned_tensor` returns fits, too. k is a multiple of 16, n of 8; ``d`` is
bf16 or f32. Sums are f32, scaled block by block of k. GPUs of compute capability 8.9 and 12 multiply e4m3
itself, others widen it to f16. Of bf16, k is a multiple of 8.

``recipe``, ``compiled_dims`` and ``disable_ue8m0_cast`` are DeepGEMM's. Scales are used as they are, powers of two or
not. A tensor that does not fit raises RuntimeError.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels.companion import problem

Scaled = tuple[Tensor, Tensor]
RECIPE = (1, 128, 128)


def _ops():
    """The namespace of the ops, loaded.

    Raises:
        ImportError: the module is not installed or does not load here.
    """
    reason = problem("deep_gemm/_deepgemm_C", "vllm-deepgemm")
    if reason:
        raise ImportError(reason)
    return torch.ops._deepgemm_C


def _check(function: str, recipe: tuple[int, int, int] | None) -> None:
    if recipe not in (None, RECIPE):
        raise ValueError(f"{function}: recipe is {recipe}, expected {RECIPE} (scales of 1 x 128 and 128 x 128) or None")


def fp8_gemm_nt(
    a: Scaled,
    b: Scaled,
    d: Tensor,
    c: Tensor | None = None,
    recipe: tuple[int, int, int] | None = None,
    compiled_dims: str = "nk",
    disable_ue8m0_cast: bool = False,
) -> None:
    """Write ``a @ b.T (+ c)`` to ``d [m, n]``; ``c`` is of d's shape and type and may be d itself."""
    _check("fp8_gemm_nt", recipe)
    _ops().fp8_gemm_nt(*a, *b, d, c)


def m_grouped_fp8_gemm_nt_contiguous(
    a: Scaled,
    b: Scaled,
    d: Tensor,
    m_indices: Tensor,
    recipe: tuple[int, int, int] | None = None,
    compiled_dims: str = "nk",
    disable_ue8m0_cast: bool = False,
) -> None:
    """Write each row of ``a`` times its expert's matrix to ``d [m, n]``: ``b[0]`` is ``[experts, n, k]``.

    Args:
        m_indices: i32 ``[m]``, the expert of each row. Rows of an expert start at multiples of
            :func:`vllm.deep_gemm.get_mk_alignment_for_contiguous_layout`; of rows in between that start a block, -1
            leaves the block of d as it is.
    """
    _check("m_grouped_fp8_gemm_nt_contiguous", recipe)
    _ops().m_grouped_fp8_gemm_nt_contiguous(*a, *b, d, m_indices)


def m_grouped_fp8_gemm_nt_masked(
    a: Scaled,
    b: Scaled,
    d: Tensor,
    masked_m: Tensor,
    expected_m: int,
    recipe: tuple[int, int, int] | None = None,
    compiled_dims: str = "nk",
    disable_ue8m0_cast: bool = False,
) -> None:
    """Write ``a[e] @ b[e].T`` to the first ``masked_m[e]`` rows of ``d[e]`` for each expert e, and no others.

    Args:
        a: ``[experts, m, k]`` and its scales ``[experts, m, k / 128]``; b likewise, d ``[experts, m, n]``.
        masked_m: i32 ``[experts]`` on the device: a graph can hold the call.
        expected_m: of masked_m, about: it chooses tiles, not results.
    """
    _check("m_grouped_fp8_gemm_nt_masked", recipe)
    _ops().m_grouped_fp8_gemm_nt_masked(*a, *b, d, masked_m, expected_m)


fp8_m_grouped_gemm_nt_masked = m_grouped_fp8_gemm_nt_masked


def bf16_gemm_nt(a: Tensor, b: Tensor, d: Tensor, c: Tensor | None = None, compiled_dims: str = "nk") -> None:
    """:func:`fp8_gemm_nt` of bf16 matrices: a ``[m, k]``, b ``[n, k]``."""
    _ops().bf16_gemm_nt(a, b, d, c)


def m_grouped_bf16_gemm_nt_contiguous(
    a: Tensor, b: Tensor, d: Tensor, m_indices: Tensor, compiled_dims: str = "nk"
) -> None:
    """:func:`m_grouped_fp8_gemm_nt_contiguous` of bf16 matrices: a ``[m, k]``, b ``[experts, n, k]``."""
    _ops().m_grouped_bf16_gemm_nt_contiguous(a, b, d, m_indices)


def m_grouped_bf16_gemm_nt_masked(
    a: Tensor, b: Tensor, d: Tensor, masked_m: Tensor, expected_m: int, compiled_dims: str = "nk"
) -> None:
    """:func:`m_grouped_fp8_gemm_nt_masked` of bf16 matrices: a ``[experts, m, k]``, b ``[experts, n, k]``."""
    _ops().m_grouped_bf16_gemm_nt_masked(a, b, d, masked_m, expected_m)
