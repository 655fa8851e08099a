"""Weights of 8 bits that a GPU multiplies by inputs of 8 bits, as ``cutlass_scaled_mm`` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vllm.kernels import load
from vllm.kernels.scaled_quant import cutlass_scaled_mm_supports_fp8
from vllm.kernels.torch_ops.scaled_weight import block_scaled, row_scaled

# Rows and columns of a weight that share a scale, where its scales are of blocks.
_BLOCK = 128
_LARGEST_E4M3 = 448.0
# What a scale is at least, so that rows of zeros have one to divide by.
_SMALLEST_MAGNITUDE = 1e-10


def _ops() -> Any:
    load()
    return torch.ops._C


@dataclass(frozen=True, slots=True, eq=False)
class ScaledWeight:
    """A weight [n, k] as codes. Its inputs are rounded to codes of the same type, each row by scales of its own.

    codes: i8 or e4m3 [n, k]; scales: f32 [1, n], with one scale a row of the input, or, of blocks of e4m3,
    [k / 128, ceil(n / 128)], with one for each 128 columns of a row.
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
        """``input @ weight.T + bias``: input [m, k] and bias [n] bf16, f16 or f32; out [m, n], where it goes."""
        input = input.contiguous()
        rounded, scales = self._rounded(input)
        if out is None:
            out = input.new_empty((input.shape[0], self.codes.shape[0]))
        _ops().cutlass_scaled_mm.default(out, rounded, self.codes.t(), scales, self.scales, bias)
        return out

    def _rounded(self, input: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = input.shape
        rounded = torch.empty_like(input, dtype=self.codes.dtype)
        if self.scales.shape[0] > 1:
            scales = input.new_empty((rows, columns // _BLOCK), dtype=torch.float32)
            limits = (_SMALLEST_MAGNITUDE, -_LARGEST_E4M3, _LARGEST_E4M3)
            _ops().per_token_group_fp8_quant.default(input, rounded, scales, _BLOCK, *limits, False)
            return rounded, scales
        scales = input.new_empty((rows, 1), dtype=torch.float32)
        if self.codes.dtype == torch.int8:
            _ops().dynamic_scaled_int8_quant.default(rounded, input, scales, None)
        else:
            _ops().dynamic_per_token_scaled_fp8_quant.default(rounded, input, scales, None)
        return rounded, scales


def pack_quantized_weight(
    codes: Tensor,
    scales: Tensor,
    zeros: Tensor | None = None,
    permutation: Tensor | None = None,
    *,
    bits: int,
    group_size: int = -1,
    gate_up: bool = False,
) -> ScaledWeight | None:
    """As that of :mod:`vllm.kernels.quantized_linear`, on the device of the codes.

    None for what does not multiply so: 4 bits, zeros, columns in another order, scales of groups (but for e4m3 in
    blocks of 128 x 128), sizes that are not multiples of 16, and e4m3 on a device that cannot multiply it.
    """
    if codes.dtype == torch.float8_e4m3fn and not multiplies_float8(codes.device):
        return None
    of = (codes, scales, zeros, permutation, bits, group_size)
    made = row_scaled(*of) or block_scaled(*of)
    return None if made is None else ScaledWeight(*made)


def multiplies_float8(device: torch.device) -> bool:
    """Whether `device` has `cutlass_scaled_mm` for e4m3."""
    if device.type != "cuda":
        return False
    major, minor = torch.cuda.get_device_capability(device)
    return cutlass_scaled_mm_supports_fp8(10 * major + minor)
