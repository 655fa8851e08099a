"""Norms and activations on GPUs whose results are quantised as they are written, under vLLM's names.

Inputs are bf16, f16 or f32 with contiguous rows; results are e4m3 or int8 (``quant_dtype``), with f32 scales that cover
the largest magnitude of what they belong to: ``result * scale`` is the value. Norms are those of `vllm.kernels.norm`.
A tensor that does not fit raises RuntimeError, a build without these kernels ImportError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vllm.kernels import gpu_only


def _ops() -> Any:
    return gpu_only.ops("_C", "rms_norm_dynamic_per_token_quant", "fuses no quantisation with norms and activations")


def rms_norm_dynamic_per_token_quant(
    input: Tensor,
    weight: Tensor,
    epsilon: float,
    quant_dtype: torch.dtype,
    scale_ub: Tensor | None = None,
    residual: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The norm of ``input`` ``[..., hidden]``, with a scale for each row: ``[rows, 1]``.

    Args:
        scale_ub: f32, one value: magnitudes above it are cut off (e4m3 only).
        residual: as ``input``; their sum is written to it, and normalised.
    """
    out = input.new_empty(input.shape, dtype=quant_dtype)
    scales = input.new_empty((input.numel() // input.shape[-1], 1), dtype=torch.float32)
    _ops().rms_norm_dynamic_per_token_quant.default(out, input, weight, scales, epsilon, scale_ub, residual)
    return out, scales


def rms_norm_per_block_quant(
    input: Tensor,
    weight: Tensor,
    epsilon: float,
    quant_dtype: torch.dtype,
    group_size: Sequence[int],
    scale_ub: Tensor | None = None,
    residual: Tensor | None = None,
    is_scale_transposed: bool = False,
    tma_alignment: int = 0,
) -> tuple[Tensor, Tensor]:
    """:func:`rms_norm_dynamic_per_token_quant`, with a scale for each group of columns: ``[rows, hidden / columns]``.

    Args:
        group_size: ``[1, columns]``, columns a power of two from 4 to 128.
        is_scale_transposed: the scales of a group lie side by side in memory.
        tma_alignment: a multiple that many of them are apart from those of the next group; 0: nothing between.
    """
    rows, columns = group_size
    if rows != 1:
        raise ValueError(f"group_size={list(group_size)} is not accepted: give [1, columns]")
    out = input.new_empty(input.shape, dtype=quant_dtype)
    scales = _group_scales(input, input.shape[-1], columns, is_scale_transposed, tma_alignment)
    _ops().rms_norm_per_block_quant.default(
        out, input, weight, scales, epsilon, scale_ub, residual, columns, is_scale_transposed
    )
    return out, scales


def silu_and_mul_per_block_quant(
    input: Tensor,
    group_size: int,
    quant_dtype: torch.dtype,
    scale_ub: Tensor | None = None,
    is_scale_transposed: bool = False,
) -> tuple[Tensor, Tensor]:
    """``silu(gate) * up``: ``input [tokens, 2 * size]`` gives ``[tokens, size]``, each `group_size` columns a scale."""
    size = input.shape[-1] // 2
    out = input.new_empty((*input.shape[:-1], size), dtype=quant_dtype)
    scales = _group_scales(input, size, group_size, is_scale_transposed)
    _ops().silu_and_mul_per_block_quant.default(out, input, scales, group_size, scale_ub, is_scale_transposed)
    return out, scales


def _group_scales(input: Tensor, size: int, columns: int, transposed: bool, alignment: int = 0) -> Tensor:
    if columns < 1 or size % columns:
        raise ValueError(f"group_size {columns} is not accepted: give one that divides the {size} columns")
    rows, groups = input.numel() // input.shape[-1], size // columns
    if not transposed:
        return input.new_empty((rows, groups), dtype=torch.float32)
    apart = math.ceil(rows / alignment) * alignment if alignment else rows
    return input.new_empty((groups, apart), dtype=torch.float32).t()[:rows]
