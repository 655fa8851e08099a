"""What a KV cache holds of a token, and memory for it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vllm.config import CacheDType

_CACHE_LINE = 64
_HUGE_PAGE = 2 << 20
_LARGE = 2 * _HUGE_PAGE  # bytes from which numpy asks for huge pages
_QUANTIZED = {
    "fp8_e4m3": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
    "fp8_per_token_head": torch.float8_e4m3fn,
    "int8_per_token_head": torch.int8,
}


@dataclass(frozen=True)
class CacheFormat:
    """How keys and values lie in memory.

    Attributes:
        dtype: the model's, which decides the layout.
        element: dtype of what is stored: `dtype`, or 8 bits with scales.
        scale_each: whether each head of a token has a scale of its own.
    """

    dtype: torch.dtype
    element: torch.dtype
    scale_each: bool

    @classmethod
    def of(cls, cache_dtype: CacheDType, dtype: torch.dtype) -> "CacheFormat":
        return cls(dtype, _QUANTIZED.get(cache_dtype, dtype), cache_dtype.endswith("_per_token_head"))

    @property
    def is_quantized(self) -> bool:
        return self.element != self.dtype

    def token_bytes(self, num_kv_heads: int, head_size: int) -> int:
        """Of one layer's keys and values of a token, with their scales."""
        scale = torch.float32.itemsize if self.scale_each else 0
        return 2 * num_kv_heads * (head_size * self.element.itemsize + scale)


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """On the host memory that is taken when it is first written: numpy's zeros come untouched from the system.

    Large tensors begin with a huge page: the blocks that are used first lie there, and steps of many sequences read
    them a few per cent faster than in pages of 4 KiB.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    alignment = _HUGE_PAGE if size >= _LARGE else _CACHE_LINE
    memory = np.zeros(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return torch.from_numpy(memory[start : start + size]).view(dtype).view(shape)
