"""Matrices to e4m3 with f32 scales of blocks, in plain torch: for weights when they are loaded, and for tests."""

from __future__ import annotations

import torch
from torch import Tensor

FP8_MAX = 448.0
SMALLEST = 1e-4
"""The least magnitude that a scale is for."""


def ceil_div(x: int, y: int) -> int:
    return -(-x // y)


def align(x: int, y: int) -> int:
    """``x`` rounded up to a multiple of ``y``."""
    return ceil_div(x, y) * y


def ceil_to_ue8m0(x: Tensor) -> Tensor:
    """Magnitudes rounded up to powers of two, f32."""
    mantissa, exponent = torch.frexp(x.abs().float())
    return torch.ldexp(torch.ones_like(mantissa), exponent - (mantissa == 0.5).int())


def _cast(x: Tensor, block: tuple[int, int], use_ue8m0: bool) -> tuple[Tensor, Tensor]:
    if x.dim() != 2:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected a matrix: cast the matrices of a group one by one")
    rows, columns = (ceil_div(size, of) for size, of in zip(x.shape, block, strict=True))
    padded = x.new_zeros((rows * block[0], columns * block[1]), dtype=torch.float32)
    padded[: x.shape[0], : x.shape[1]] = x
    blocks = padded.view(rows, block[0], columns, block[1])
    scales = blocks.abs().amax((1, 3)).clamp(min=SMALLEST) / FP8_MAX
    if use_ue8m0:
        scales = ceil_to_ue8m0(scales)
    codes = (blocks / scales[:, None, :, None]).clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn)
    return codes.view_as(padded)[: x.shape[0], : x.shape[1]].contiguous(), scales


def per_token_cast_to_fp8(x: Tensor, use_ue8m0: bool, gran_k: int = 128) -> tuple[Tensor, Tensor]:
    """``x [m, k]`` as e4m3 with a scale for each ``gran_k`` of a row, ``[m, k / gran_k]``; powers of two if asked."""
    return _cast(x, (1, gran_k), use_ue8m0)


def per_block_cast_to_fp8(x: Tensor, use_ue8m0: bool, gran_k: int = 128) -> tuple[Tensor, Tensor]:
    """``x [n, k]`` as e4m3 with a scale for each ``gran_k`` x ``gran_k``, ``[n / gran_k, k / gran_k]``."""
    return _cast(x, (gran_k, gran_k), use_ue8m0)
