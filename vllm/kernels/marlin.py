"""Weights that a GPU keeps as codes of 4 and 8 bits, as ``marlin_gemm`` of :mod:`vllm.kernels.wna16` reads them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vllm.kernels import wna16
from vllm.scalar_type import ScalarType, scalar_types

# Which column each code of a word of zeros is of, by bits.
_INTERLEAVED = {4: (0, 2, 4, 6, 1, 3, 5, 7), 8: (0, 2, 1, 3)}
# The power of two in scales of e4m3: what its exponents' bias and the input type's differ by.
_FOLDED = {torch.bfloat16: 120, torch.float16: 8}
_K_MULTIPLE, _N_MULTIPLE = 32, 64


@dataclass(frozen=True, slots=True, eq=False)
class MarlinWeight:
    """A weight [n, k] as codes.

    words: of `gptq_marlin_repack`; scales [groups, n] of the inputs' dtype; zeros [groups, n * bits / 32] or None;
    permutation: i32 [k], which column of the input each row of the words meets; None: all in order.
    """

    words: Tensor
    scales: Tensor
    zeros: Tensor | None
    permutation: Tensor | None
    element: ScalarType
    n: int
    k: int

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in (self.words, self.scales, self.zeros) if x is not None)

    @property
    def dtype(self) -> torch.dtype:
        """What products are computed in."""
        return self.scales.dtype

    def multiply(self, input: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """``input @ weight.T + bias``: input [m, k] and bias [n] of the scales' dtype; out [m, n], where it goes."""
        workspace = self.words.new_empty(0)  # upstream's kernel needs one
        return wna16.marlin_gemm(
            input, out, self.words, None if bias is None else _single(bias), self.scales, None, None,
            self.zeros, None, self.permutation, workspace, self.element, input.shape[0], self.n, self.k,
        )  # fmt: skip


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
) -> MarlinWeight | None:
    """As that of :mod:`vllm.kernels.quantized_linear`, on the device of the codes, for inputs of `dtype`.

    Codes may also be float8_e4m3fn, for ``scales * codes``. Scales are rounded to `dtype`. None where the kernel has no
    such weight: inputs are not bf16 or f16, sizes are not multiples of 32 columns and 64 rows, the last group is not
    whole, a scale is too large for `dtype`, or a zero is no code.
    """
    n, k = codes.shape
    groups = scales.shape[1]
    if dtype not in (torch.bfloat16, torch.float16) or k % _K_MULTIPLE or n % _N_MULTIPLE:
        return None
    if groups > 1 and groups * group_size != k:
        return None
    element = {4: scalar_types.uint4b8, 8: scalar_types.uint8b128}[bits]
    if zeros is not None:
        if not bool(((zeros >= 0) & (zeros < 2**bits)).all()):
            return None
        element = {4: scalar_types.uint4, 8: scalar_types.uint8}[bits]
        interleaved = _interleaved(_grouped(zeros.t().to(torch.uint8)), bits)
        zeros = _words(interleaved, bits)
    if codes.dtype == torch.float8_e4m3fn:
        element = scalar_types.float8_e4m3fn
        # Before they are rounded: f16 has few bits for scales as small as these.
        codes, scales = codes.view(torch.uint8), scales * 2.0 ** _FOLDED[dtype]
    scales = scales.t().to(dtype)
    if not bool(scales.isfinite().all()):
        return None
    unordered = codes.new_empty(0, dtype=torch.int32)
    words = wna16.gptq_marlin_repack(_words(codes, bits).t().contiguous(), unordered, k, n, bits)
    scales = _grouped(scales) if groups > 1 else _single(scales)
    return MarlinWeight(words, scales, zeros, permutation, element, n, k)


def _grouped(x: Tensor) -> Tensor:
    """Scales or zeros [groups, n]: each 64 columns, as 8 rows of 8, transposed."""
    return x.unflatten(-1, (-1, 8, 8)).transpose(-2, -1).flatten(-3).contiguous()


def _single(x: Tensor) -> Tensor:
    """A bias or the scales of whole columns [..., n]: each 32 columns, as 4 rows of 4 pairs, transposed.

    By strides alone: a bias comes with every product, and captured steps can send no list of columns to the device.
    """
    return x.unflatten(-1, (-1, 4, 4, 2)).transpose(-3, -2).flatten(-4).contiguous()


def _interleaved(x: Tensor, bits: int) -> Tensor:
    """[..., n] with each word's codes in the order in which the kernel reads them."""
    order = _INTERLEAVED[bits]
    return x.unflatten(-1, (-1, len(order)))[..., list(order)].flatten(-2)


def _words(codes: Tensor, bits: int) -> Tensor:
    """u8 [rows, columns] to i32 [rows, columns * bits / 32]: the first code of a word in its lowest bits."""
    octets = codes if bits == 8 else codes[:, ::2] | codes[:, 1::2] << 4
    return octets.contiguous().view(torch.int32)  # the lowest byte first, on every host and device that has such ops
