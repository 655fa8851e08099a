"""Weights of 8 bits with inputs of 8 bits: made-up ones, and how near their products must come."""

from typing import Any

import torch

from support.kernel_inputs import randn
from vllm.quantization.base import QuantizedWeight

N, K = 272, 256
FP8 = torch.float8_e4m3fn
# How far the roundings of inputs reach: of a part of a row's largest, or of each by 4 bits of significance.
_ERRORS = {torch.uint8: 0.012, FP8: 0.03}


def byte_weight(dtype: torch.dtype, blocks: bool = False) -> QuantizedWeight:
    """[N, K], codes u8 or e4m3, with a scale a row, or in blocks of 128 x 128."""
    generator = torch.Generator().manual_seed(0)
    codes = randn((N, K), torch.float32, 0, 3.0).to(FP8)
    if dtype is torch.uint8:
        codes = torch.randint(0, 256, (N, K), generator=generator, dtype=dtype)
    scales = torch.rand((-(-N // 128), K // 128) if blocks else (N, 1), generator=generator) + 0.1
    scales = scales.repeat_interleave(128, 0)[:N] if blocks else scales
    return QuantizedWeight(codes, scales, None, 8, 128 if blocks else -1)


def check_products(made: Any, w: QuantizedWeight, dtype: torch.dtype) -> None:
    """`made`, what a pack_quantized_weight made of `w`, against its dequantised values."""
    assert made.nbytes < N * K + 4 * N + 1
    rows = torch.tensor([1, 8, 0, 3, 0.01])[:, None].to(dtype)
    x, bias = randn((5, 2 * K), dtype, 1)[:, :K] * rows, randn((N,), dtype, 2)
    terms = w.dequantized().double()
    expected = x.double() @ terms.t() + bias.double()
    size = (x.double().square() @ terms.square().t()).sqrt().clamp(min=1e-6)
    for given in (None, torch.empty(5, N, dtype=dtype)):
        out = made.multiply(x, bias, given)
        assert out.dtype == dtype and (given is None or out is given)
        error = (out.double() - expected).abs() - 2 * torch.finfo(dtype).eps * (expected.abs() + bias.abs().double())
        assert (error / size).clamp(min=0).square().mean().sqrt() < _ERRORS[w.codes.dtype]
        assert torch.equal(out[2], bias), "a row of zeros"
