"""Inputs that the tests of several device kernels share."""

from __future__ import annotations

import torch
from torch import Tensor

from support.attention_case import AttentionCase

FP8 = {"fp8": torch.float8_e4m3fn, "fp8_e4m3": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}
K_SCALE, V_SCALE = torch.tensor([0.05]), torch.tensor([0.03])
"""Of 8-bit caches."""


def to_fp8(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounded to nearest even and saturated, as the kernels do."""
    limit = torch.finfo(dtype).max
    return x.float().clamp(-limit, limit).to(dtype)


def cache_values(x: Tensor, kv_cache_dtype: str, scale: float) -> Tensor:
    """What a cache holds of `x`: `x` itself for "auto", else x / scale as 8-bit floats."""
    return x if kv_cache_dtype == "auto" else to_fp8(x.float() / scale, FP8[kv_cache_dtype])


def classic_caches(case: AttentionCase, kv_cache_dtype: str) -> tuple[Tensor, Tensor]:
    """[blocks, kv_heads, head_size / x, block_size, x] and [blocks, kv_heads, head_size, block_size]."""
    key, value = case.key_cache, case.value_cache
    if kv_cache_dtype != "auto":
        key = cache_values(key, kv_cache_dtype, K_SCALE).view(torch.uint8)
        value = cache_values(value, kv_cache_dtype, V_SCALE).view(torch.uint8)
    key = key.unflatten(-1, (-1, 16 // key.dtype.itemsize)).permute(0, 2, 3, 1, 4)
    return key.contiguous(), value.permute(0, 2, 3, 1).contiguous()


def limit_of(dtype: torch.dtype) -> float:
    """Largest quantised magnitude."""
    return 127.0 if dtype is torch.int8 else torch.finfo(dtype).max


def dynamic_scale(x: Tensor, dtype: torch.dtype, upper: Tensor | None = None) -> Tensor:
    """[..., 1]: the scale that maps the row's largest magnitude (at most `upper`) to the largest quantised one."""
    largest = x.abs().amax(-1, keepdim=True).float()
    return (largest if upper is None else largest.minimum(upper)) / limit_of(dtype)


def range_scale(x: Tensor) -> Tensor:
    """[..., 1]: the scale of int8 with a zero point: of the row's range, at least 2^-16 of its largest magnitude."""
    low, high = x.float().aminmax(dim=-1, keepdim=True)
    return ((high - low) / 255).maximum(torch.maximum(-low, high) / 2**16)


def assert_quantized(q: Tensor, scale: Tensor, expected: Tensor, rounding: float = 1e-5) -> None:
    """q * scale is `expected` (f64) to half a unit of q's last place, and its relative error before that: f32's."""
    lowest = -128.0 if q.dtype is torch.int8 else -limit_of(q.dtype)
    x = (expected.double() / scale.double()).clamp(lowest, limit_of(q.dtype))
    # e4m3: 3 bits of mantissa, smallest step 2^-9.
    step = torch.ones_like(x) if q.dtype is torch.int8 else torch.exp2(x.abs().clamp(min=2**-6).log2().floor() - 3)
    error = (q.double() - x).abs()
    assert (error <= step * 0.5 + x.abs() * rounding + 1e-6).all(), (error / step).max()


def scale_blocks(q: Tensor, scales: Tensor, rows: int) -> Tensor:
    """f64: `q [..., n, k]` times the scales `[..., n / rows, k / 128]` of blocks of `rows` x 128, the last ones cut."""
    each = scales.double().repeat_interleave(rows, -2).repeat_interleave(128, -1)
    return q.double() * each[..., : q.shape[-2], : q.shape[-1]]
