"""Packed weights of 4- and 8-bit codes, which the ops of :mod:`vllm.kernels.linear` take like any other packed weight.

A row of the input is quantised as it comes in, to signed 8-bit codes with one scale for each group of consecutive
columns; products of codes are summed exactly within a group, groups in f32. The input may be bf16, f16 or f32. An
output's bits depend on its row of the input and of the weight alone. A row that is not finite gives NaNs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_quantize_weight = torch.ops._C.quantize_weight.default
_pack_quantized_weight = torch.ops._C.pack_quantized_weight.default


INT4_GROUP = 32  # columns that share a scale in quantize_weight's 4-bit weights


def quantize_weight(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Round a weight ``[n, k]`` of bf16, f16 or f32 to codes u8 ``[n, k]`` and scales f32, as pack_quantized_weight's.

    With ``bits=8`` a row has one scale (``[n, 1]``), and its largest value becomes 127 or -127. With ``bits=4`` each
    ``INT4_GROUP`` columns have one: of nine roundings the one with the smallest squared error.
    """
    return _quantize_weight(weight, bits)


def pack_quantized_weight(
    codes: Tensor,
    scales: Tensor,
    zeros: Tensor | None = None,
    permutation: Tensor | None = None,
    *,
    bits: int,
    group_size: int = -1,
    gate_up: bool = False,
) -> Tensor | None:
    """Pack the weight ``scales * (codes - zeros)``; the result is opaque, 1-D u8, the same for every instruction set.

    Args:
        codes: u8 ``[n, k]``, below ``2 ** bits``. No kernel takes codes of a floating-point type: the result is None.
        scales: f32 ``[n, groups]``; or, for ``bits=8`` without zeros, ``[n, 1]``: one for a whole row.
        zeros: i32 ``[n, groups]``; None: ``2 ** (bits - 1)``.
        permutation: i32 ``[k]``: column ``i`` of codes belongs to column ``permutation[i]`` of the input.
        bits: 4 or 8.
        group_size: columns that share a scale, here and in the quantised input: a multiple of 8 up to 65536; -1: all.
        gate_up: gate rows before up rows, for ``linear_packed_silu_and_mul``.

    Raises:
        RuntimeError: something does not fit.
    """
    if codes.is_floating_point():
        return None
    return _pack_quantized_weight(codes, scales, zeros, permutation, bits, group_size, gate_up)


@torch.library.register_fake("_C::quantize_weight")
def _(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    n, k = weight.shape
    groups = 1 if bits == 8 else -(-k // INT4_GROUP)
    return weight.new_empty((n, k), dtype=torch.uint8), weight.new_empty((n, groups), dtype=torch.float32)


@torch.library.register_fake("_C::pack_quantized_weight")
def _(
    codes: Tensor,
    scales: Tensor,
    zeros: Tensor | None,
    permutation: Tensor | None,
    bits: int,
    group_size: int,
    gate_up: bool,
) -> Tensor:
    n, k = codes.shape
    padded = -(-k // 8) * 8
    groups = -(-k // (padded if group_size == -1 else min(group_size, padded)))
    head = 64 * ((scales.shape[1] > 1 or bits == 4 or zeros is not None) + (zeros is not None))
    panels = -(-(n // 2) // 16) if gate_up else -(-n // 32)
    prefix = 64 + (0 if permutation is None else -(-k * 4 // 64) * 64)
    return codes.new_empty(prefix + panels * (128 + groups * head + padded * 4 * bits))
