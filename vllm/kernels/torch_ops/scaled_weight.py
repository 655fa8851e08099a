"""Weights of 8 bits that a GPU multiplies by inputs of 8 bits, by torch's ops."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_log = logging.getLogger(__name__)
_SIZE_MULTIPLE = 16
_LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
# What a row's largest magnitude counts as at least, so that rows of zeros have a scale to divide by.
_SMALLEST_MAGNITUDE = 1e-10
# Rows that torch's product of int8 takes at least on GPUs, rounded up.
_LEAST_ROWS = 32
# Rows and columns of a weight that share a scale, where its scales are of blocks.
_BLOCK = 128
# cuBLASLt's strides of blocks' scales, and rows of inputs beside such, are multiples of this
# (docs.nvidia.com/cuda/cublas, "Scaling Factors Layouts"; pytorch/pytorch#166752, vllm-project/vllm#49932).
_BLOCK_STRIDE_MULTIPLE = 4
# Of the size of a result: what rounding it to 16 bits, and its sums to fewer than f32's, may change.
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class ScaledWeight:
    """A weight [n, k] as codes, i8 or e4m3; inputs are rounded to the same type, each row by scales of its own.

    scales: f32 [1, n], with one scale a row of the input, or, of blocks of e4m3, [k / 128, ceil(n / 128)], with one
    for each 128 columns of a row.
    """

    codes: Tensor
    scales: Tensor

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes

    @property
    def dtype(self) -> torch.dtype:
        """What products are computed in."""
        return self.codes.dtype

    def multiply(self, input: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """``input @ weight.T + bias``: input [m, k] and bias [n] of one dtype; out [m, n], where it goes."""
        result = self._product(input)
        if bias is not None:
            result += bias
        return result if out is None else out.copy_(result)

    def _product(self, input: Tensor) -> Tensor:
        rows, columns = input.shape
        if self.scales.shape[0] > 1:
            padded = F.pad(input, (0, 0, 0, -rows % _BLOCK_STRIDE_MULTIPLE))
            rounded, scales = _rounded(padded.reshape(-1, _BLOCK), self.codes.dtype)
            by_column = scales.view(len(padded), -1).t().contiguous().t()
            return torch._scaled_mm(
                rounded.view(-1, columns), self.codes.t(), scale_a=by_column, scale_b=self.scales, out_dtype=input.dtype
            )[:rows]
        rounded, scales = _rounded(input, self.codes.dtype)
        if self.codes.dtype == torch.int8:
            padded = F.pad(rounded, (0, 0, 0, max(0, _LEAST_ROWS - rows)))
            sums = torch._int_mm(padded, self.codes.t())[:rows]
            return sums.float().mul_(scales).mul_(self.scales).to(input.dtype)
        return torch._scaled_mm(
            rounded, self.codes.t(), scale_a=scales, scale_b=self.scales, out_dtype=input.dtype, use_fast_accum=True
        )


def pack_quantized_weight(
    codes: Tensor,
    scales: Tensor,
    zeros: Tensor | None = None,
    permutation: Tensor | None = None,
    *,
    bits: int,
    group_size: int = -1,
    gate_up: bool = False,
    dtype: torch.dtype,
) -> ScaledWeight | None:
    """As that of :mod:`vllm.kernels.quantized_linear`, on the device of the codes, for inputs of `dtype`.

    None for what does not multiply so: all but 8 bits with a scale a row or e4m3 in blocks of 128 x 128, and what torch
    cannot multiply on the device.
    """
    made = row_scaled(codes, scales, zeros, permutation, bits, group_size)
    blocks = False
    if made is None:
        made = block_scaled(codes, scales, zeros, permutation, bits, group_size)
        blocks = True
    if made is None or not has_product(codes.device, made[0].dtype, dtype, blocks):
        return None
    return ScaledWeight(made[0], _with_padded_stride(made[1]) if blocks else made[1])


def row_scaled(
    codes: Tensor, scales: Tensor, zeros: Tensor | None, permutation: Tensor | None, bits: int, group_size: int
) -> tuple[Tensor, Tensor] | None:
    """Codes i8 or e4m3 [n, k] and scales [1, n] of a weight whose inputs may have a scale a row, too; else None."""
    if not multiplies_bytes(codes, zeros, permutation, bits) or group_size != -1 or scales.shape[1] != 1:
        return None
    signed = codes if codes.is_floating_point() else (codes ^ 128).view(torch.int8)
    return signed, scales.t().contiguous()


def block_scaled(
    codes: Tensor, scales: Tensor, zeros: Tensor | None, permutation: Tensor | None, bits: int, group_size: int
) -> tuple[Tensor, Tensor] | None:
    """Codes e4m3 [n, k] and scales [k / 128, ceil(n / 128)] of a weight in blocks of 128 x 128; else None."""
    n, k = codes.shape
    fits = multiplies_bytes(codes, zeros, permutation, bits) and k % _BLOCK == 0 and k > _BLOCK
    if not fits or codes.dtype != torch.float8_e4m3fn or group_size != _BLOCK:
        return None
    of_blocks = scales[::_BLOCK]
    if not torch.equal(of_blocks.repeat_interleave(_BLOCK, 0)[:n], scales):
        return None
    return codes, of_blocks.t().contiguous()


def multiplies_bytes(codes: Tensor, zeros: Tensor | None, permutation: Tensor | None, bits: int) -> bool:
    """Whether products of 8-bit codes and inputs are those of the weight, and have sizes that GPUs multiply."""
    fits = not any(size % _SIZE_MULTIPLE for size in codes.shape)
    return bits == 8 and zeros is None and permutation is None and fits


def has_product(device: torch.device, kind: torch.dtype, dtype: torch.dtype, blocks: bool = False) -> bool:
    """Whether torch multiplies codes of `kind` on this GPU into `dtype` and the result is right."""
    # Scales of rows are for results in bf16 alone.
    accepted = kind == torch.int8 or dtype == torch.bfloat16
    return device.type == "cuda" and accepted and _agrees(device, kind, dtype, blocks)


def _with_padded_stride(scales: Tensor) -> Tensor:
    """Scales [k / 128, blocks of rows], column after column, each padded."""
    padded = F.pad(scales.t(), (0, -len(scales) % _BLOCK_STRIDE_MULTIPLE))
    return padded[:, : len(scales)].t()


def _rounded(input: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Codes of `kind` [m, k] and scales f32 [m, 1]."""
    scales = input.abs().amax(1, keepdim=True).float().clamp_(min=_SMALLEST_MAGNITUDE).div_(_LARGEST[kind])
    shares = input / scales
    return (shares.round_() if kind == torch.int8 else shares).to(kind), scales


@functools.cache
def _agrees(device: torch.device, kind: torch.dtype, dtype: torch.dtype, blocks: bool = False) -> bool:
    """Tries a product; a warning says what is wrong with it."""
    generator = torch.Generator().manual_seed(0)
    # With blocks none of the numbers of rows, of blocks of rows and of columns is a multiple of what is padded.
    n, k = (2 * _BLOCK + 16, 5 * _BLOCK) if blocks else (48, 64)
    x, weight = (torch.randn(size, generator=generator).to(device, dtype) for size in ((5, k), (n, k)))
    rounded, row_scales = _rounded(x.reshape(-1, _BLOCK if blocks else k), kind)
    codes, scales = _rounded(weight, kind)
    scales = scales.t().contiguous()
    each = scales.t()
    if blocks:
        scales = torch.rand((k // _BLOCK, -(-n // _BLOCK)), generator=generator).add_(0.1).to(device)
        each = scales.t().repeat_interleave(_BLOCK, 0)[:n].repeat_interleave(_BLOCK, 1)
        scales = _with_padded_stride(scales)
    expected = (rounded.float() * row_scales).view(5, k) @ (codes.float() * each).t()
    try:
        got = ScaledWeight(codes, scales).multiply(x).float()
    except Exception as error:
        problem = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
    else:
        difference = ((got - expected).abs().max() / expected.std()).item()
        if difference <= _TOLERANCE:
            return True
        problem = f"its result differs by {difference:.3g} of its size"
    named = f"{kind} in blocks" if blocks else kind
    _log.warning("weights in 8 bits are dequantised: torch's product of %s does not serve: %s", named, problem)
    return False
