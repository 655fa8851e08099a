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
# Of the size of a result with 64 terms: what rounding the inputs to 8 bits may change.
_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class ScaledWeight:
    """A weight [n, k] as codes, i8 or e4m3; inputs are rounded to the same type, each row by a scale of its own.

    scales: f32 [1, n].
    """

    codes: Tensor
    scales: Tensor

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes

    def multiply(self, input: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """``input @ weight.T + bias``: input [m, k] and bias [n] of one dtype; out [m, n], where it goes."""
        rounded, scales = _rounded(input, self.codes.dtype)
        if self.codes.dtype == torch.int8:
            rows = len(rounded)
            padded = F.pad(rounded, (0, 0, 0, max(0, _LEAST_ROWS - rows)))
            sums = torch._int_mm(padded, self.codes.t())[:rows]
            result = sums.float().mul_(scales).mul_(self.scales).to(input.dtype)
        else:
            result = torch._scaled_mm(
                rounded, self.codes.t(), scale_a=scales, scale_b=self.scales, out_dtype=input.dtype, use_fast_accum=True
            )
        if bias is not None:
            result += bias
        return result if out is None else out.copy_(result)


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

    None for what does not multiply so: all but 8 bits with a scale a row, and what torch cannot multiply on the device.
    """
    made = row_scaled(codes, scales, zeros, permutation, bits, group_size)
    if made is None or not has_product(codes.device, made[0].dtype, dtype):
        return None
    return ScaledWeight(*made)


def row_scaled(
    codes: Tensor, scales: Tensor, zeros: Tensor | None, permutation: Tensor | None, bits: int, group_size: int
) -> tuple[Tensor, Tensor] | None:
    """Codes i8 or e4m3 [n, k] and scales [1, n] of a weight whose inputs may have a scale a row, too; else None."""
    if not multiplies_bytes(codes, zeros, permutation, bits) or group_size != -1 or scales.shape[1] != 1:
        return None
    signed = codes if codes.is_floating_point() else (codes ^ 128).view(torch.int8)
    return signed, scales.t().contiguous()


def multiplies_bytes(codes: Tensor, zeros: Tensor | None, permutation: Tensor | None, bits: int) -> bool:
    """Whether products of 8-bit codes and inputs are those of the weight, and have sizes that GPUs multiply."""
    fits = not any(size % _SIZE_MULTIPLE for size in codes.shape)
    return bits == 8 and zeros is None and permutation is None and fits


def has_product(device: torch.device, kind: torch.dtype, dtype: torch.dtype) -> bool:
    """Whether torch multiplies codes of `kind` on this GPU into `dtype` and the result is right."""
    # Scales of rows are for results in bf16 alone.
    return device.type == "cuda" and (kind == torch.int8 or dtype == torch.bfloat16) and _agrees(device, kind, dtype)


def _rounded(input: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Codes of `kind` and scales f32 [m, 1]."""
    scales = input.abs().amax(1, keepdim=True).float().clamp_(min=_SMALLEST_MAGNITUDE).div_(_LARGEST[kind])
    shares = input / scales
    return (shares.round_() if kind == torch.int8 else shares).to(kind), scales


@functools.cache
def _agrees(device: torch.device, kind: torch.dtype, dtype: torch.dtype) -> bool:
    """Tries a product; a warning says what is wrong with it."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(size, generator=generator).to(device) for size in ((5, 64), (48, 64)))
    codes, scales = _rounded(weight, kind)
    expected = x @ (codes.float() * scales).t()
    try:
        got = ScaledWeight(codes, scales.t().contiguous()).multiply(x.to(dtype)).float()
    except Exception as error:
        problem = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
    else:
        difference = ((got - expected).abs().max() / expected.std()).item()
        if difference <= _TOLERANCE:
            return True
        problem = f"its result differs by {difference:.3g} of its size"
    _log.warning("weights in 8 bits are dequantised: torch's product of %s does not serve: %s", kind, problem)
    return False
