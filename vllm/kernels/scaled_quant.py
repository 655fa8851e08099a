"""Quantisation of activations to int8 and fp8 (e4m3), and products of matrices of them, under vLLM's names.

Inputs are bf16, f16 or f32 with contiguous rows. A tensor that does not fit raises RuntimeError.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vllm.kernels import load

load()
_ops = torch.ops._C


def scaled_int8_quant(
    input: Tensor, scale: Tensor | None = None, azp: Tensor | None = None, symmetric: bool = True
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Round ``input / scale (+ azp)`` to i8; returns it with the scale f32 and the zero point i32 that were used.

    Without ``scale`` (f32, one value) each row of ``input`` ``[..., k]`` gets its own: for its largest magnitude, or,
    where ``symmetric`` is false, for its range, with a zero point.
    """
    out = torch.empty_like(input, dtype=torch.int8)
    if scale is not None:
        if symmetric != (azp is None):
            given = "no azp" if azp is None else "an azp"
            raise ValueError(f"symmetric={symmetric} with {given} is not accepted: give azp where symmetric is false")
        _ops.static_scaled_int8_quant.default(out, input, scale, azp)
        return out, scale, azp
    rows = input.numel() // input.shape[-1]
    scale = input.new_empty((rows, 1), dtype=torch.float32)
    azp = None if symmetric else input.new_empty((rows, 1), dtype=torch.int32)
    _ops.dynamic_scaled_int8_quant.default(out, input, scale, azp)
    return out, scale, azp


def scaled_fp8_quant(
    input: Tensor,
    scale: Tensor | None = None,
    num_token_padding: int | None = None,
    scale_ub: Tensor | None = None,
    use_per_token_if_dynamic: bool = False,
    output: Tensor | None = None,
    group_shape: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Round ``input [tokens, k] / scale`` to e4m3; returns it with the scale f32 that was used.

    ``scale`` has one value, or one for each group: ``[tokens / rows, k / columns]``, where ``group_shape`` is
    ``(rows, columns)``, -1 for all. It must be given where all groups are of rows, or of columns, and scale has one
    dimension.

    Without ``scale`` it covers the largest magnitude: of all, or of each row (``[tokens, 1]``, magnitudes up to
    ``scale_ub``). ``num_token_padding``: rows of a new output, and of its scales, at least; those past the input are
    undefined.
    """
    if output is None:
        rows = max(num_token_padding or 0, input.shape[0])
        output = input.new_empty((rows, input.shape[1]), dtype=torch.float8_e4m3fn)
    written = output[: input.shape[0]]
    if scale is not None and scale.numel() != 1:
        scaled = _divided_by_groups(input, scale, group_shape)
        _ops.static_scaled_fp8_quant.default(written, scaled, scale.new_ones(1))
    elif scale is not None:
        _ops.static_scaled_fp8_quant.default(written, input, scale)
    elif use_per_token_if_dynamic:
        scale = input.new_empty((output.shape[0], 1), dtype=torch.float32)
        _ops.dynamic_per_token_scaled_fp8_quant.default(written, input, scale[: input.shape[0]], scale_ub)
    else:
        scale = input.new_empty(1, dtype=torch.float32)
        _ops.dynamic_scaled_fp8_quant.default(written, input, scale)
    return output, scale


def _divided_by_groups(input: Tensor, scale: Tensor, group_shape: tuple[int, int] | None) -> Tensor:
    """``input [tokens, k]`` over the scales of its groups, in f32."""
    given, shape = tuple(scale.shape), tuple(input.shape)
    groups = given
    if group_shape is not None:
        groups = tuple(1 if group == -1 else size // group for size, group in zip(shape, group_shape, strict=True))
    one_line = len(given) == 1 and 1 in groups and given[0] == math.prod(groups)
    if len(groups) != 2 or not (given == groups or one_line) or not all(map(_divides, groups, shape)):
        raise ValueError(
            f"scale {list(given)} with group_shape={group_shape} is not accepted for input {list(shape)}: give one "
            "value, or [tokens / rows, k / columns] with group_shape=(rows, columns)"
        )
    parts = input.float().unflatten(1, (groups[1], -1)).unflatten(0, (groups[0], -1))
    return (parts / scale.reshape(groups[0], 1, groups[1], 1)).view(shape)


def _divides(count: int, size: int) -> bool:
    return count > 0 and size % count == 0


def cutlass_scaled_mm(
    a: Tensor, b: Tensor, scale_a: Tensor, scale_b: Tensor, out_dtype: torch.dtype, bias: Tensor | None = None
) -> Tensor:
    """``scale_a * (a @ b) * scale_b + bias``: a ``[..., k]``, b ``[k, n]``, the transpose of a weight; both i8.

    Scales are f32, one value or one for each row of a and each column of b; bias is ``[n]`` of ``out_dtype``.

    On GPUs a and b may be e4m3, whose scales may be of blocks, too: ``scale_a [rows, k / 128]`` and
    ``scale_b [k / 128, n / 128]``, with any strides. There n and k are multiples of 16.
    """
    out = a.new_empty((*a.shape[:-1], b.shape[1]), dtype=out_dtype)
    _ops.cutlass_scaled_mm.default(out.flatten(0, -2), a.flatten(0, -2), b, scale_a, scale_b, bias)
    return out


def cutlass_scaled_mm_azp(
    a: Tensor,
    b: Tensor,
    scale_a: Tensor,
    scale_b: Tensor,
    out_dtype: torch.dtype,
    azp_adj: Tensor,
    azp: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """:func:`cutlass_scaled_mm`, ``azp * azp_adj`` taken off ``a @ b``: i32, azp ``[m, 1]`` (None: 1), azp_adj ``[n]``.

    With one zero point a row azp_adj is the sum of each of b's columns, with one for all, that sum times it.
    """
    out = a.new_empty((*a.shape[:-1], b.shape[1]), dtype=out_dtype)
    rows = (out.flatten(0, -2), a.flatten(0, -2))
    _ops.cutlass_scaled_mm_azp.default(*rows, b, scale_a, scale_b, azp_adj, azp, bias)
    return out


def cutlass_scaled_mm_supports_fp8(cuda_device_capability: int) -> bool:
    """Whether GPUs of this capability (89 for 8.9) multiply e4m3 matrices; false in builds without CUDA."""
    return hasattr(_ops, "cutlass_scaled_mm_supports_fp8") and _ops.cutlass_scaled_mm_supports_fp8(
        cuda_device_capability
    )


def cutlass_scaled_mm_supports_block_fp8(cuda_device_capability: int) -> bool:
    """As :func:`cutlass_scaled_mm_supports_fp8`, for scales of blocks."""
    return hasattr(_ops, "cutlass_scaled_mm_supports_block_fp8") and _ops.cutlass_scaled_mm_supports_block_fp8(
        cuda_device_capability
    )


def _writes_in_place(*arguments: object) -> None:
    return None


for _name in (
    "static_scaled_fp8_quant",
    "dynamic_scaled_fp8_quant",
    "dynamic_per_token_scaled_fp8_quant",
    "static_scaled_int8_quant",
    "dynamic_scaled_int8_quant",
    "cutlass_scaled_mm",
    "cutlass_scaled_mm_azp",
):
    torch.library.register_fake(f"_C::{_name}")(_writes_in_place)
