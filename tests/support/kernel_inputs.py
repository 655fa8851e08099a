"""Inputs and tolerances for the kernels' tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**31 - 1)
# Sizes around vector lengths (4 to 64 elements) and the ones that models have.
hidden_sizes = st.one_of(st.integers(1, 150), st.sampled_from([576, 896, 1536, 4096]))

# Results are computed in f32 and rounded once: one unit in the last place of the dtype, and f32's own error.
RTOL = {torch.float32: 1e-5, torch.bfloat16: 2**-8, torch.float16: 2**-10}
ATOL = 1e-5

observers: list[Callable[[float], None]] = []  # told the largest share of its tolerance that a result used up


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype | None = None, terms: float = 0.0) -> None:
    """`expected` is f32 or f64; `terms`: size of the terms that a result sums up, where they are larger than it."""
    dtype = dtype or actual.dtype
    atol = ATOL + RTOL[dtype] * terms
    if observers and expected.numel():
        share = ((actual.double() - expected.double()).abs() / (atol + RTOL[dtype] * expected.double().abs())).max()
        for observe in observers:
            observe(float(share))
    torch.testing.assert_close(actual.float(), expected.float(), rtol=RTOL[dtype], atol=atol, equal_nan=True)


LAYOUTS = ("contiguous", "padded", "offset", "swapped")
layouts = st.sampled_from(LAYOUTS)


def with_layout(x: Tensor, layout: str) -> Tensor:
    """A copy of `x` whose last dimension is contiguous, its memory otherwise laid out as `layout` says."""
    if layout == "contiguous" or x.dim() == 1:
        return x.contiguous().clone()
    if layout == "swapped" and x.dim() > 2:
        return x.transpose(0, 1).contiguous().transpose(0, 1)
    pad = 3 if layout == "padded" else 16
    memory = torch.full((*x.shape[:-1], x.shape[-1] + pad), 7.0).to(x.dtype)
    view = memory[..., :-pad] if layout == "padded" else memory[..., pad:]
    view.copy_(x)
    return view


def randn(shape: tuple[int, ...], dtype: torch.dtype, seed: int, scale: float = 1.0) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)
