"""Inputs that the tests of several device kernels share."""

from __future__ import annotations

import torch
from torch import Tensor

FP8 = {"fp8": torch.float8_e4m3fn, "fp8_e4m3": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}


def to_fp8(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounded to nearest even and saturated, as the kernels do."""
    limit = torch.finfo(dtype).max
    return x.float().clamp(-limit, limit).to(dtype)


def cache_values(x: Tensor, kv_cache_dtype: str, scale: float) -> Tensor:
    """What a cache holds of `x`: `x` itself for "auto", else x / scale as 8-bit floats."""
    return x if kv_cache_dtype == "auto" else to_fp8(x.float() / scale, FP8[kv_cache_dtype])
