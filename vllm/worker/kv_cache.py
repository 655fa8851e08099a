"""The KV cache's memory: how much of it, and one tensor a layer."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vllm import envs
from vllm.attention.paged import AttentionShape, LayerCache, PagedAttention
from vllm.config import CacheDType, VllmConfig
from vllm.exceptions import VLLMValidationError
from vllm.kernels.attention import PACKED_BLOCK_MULTIPLE, packed_pair
from vllm.platforms import current_platform

_GIB = 2**30
_DEFAULT_BYTES = 4 * _GIB
# Of the memory that is free once the weights are loaded; the rest is for activations and everybody else.
_SHARE_OF_FREE_MEMORY = 0.5
_ALIGNMENT = 64


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


def block_bytes(shapes: list[AttentionShape], block_size: int, format: CacheFormat) -> int:
    """Bytes of one block over all layers."""
    return sum(format.token_bytes(s.num_kv_heads, s.head_size) * block_size for s in shapes)


def number_of_blocks(config: VllmConfig, shapes: list[AttentionShape], format: CacheFormat) -> int:
    """From the configured size; else from free memory, and never more than the limits could use.

    Raises VLLMValidationError where not even one block fits.
    """
    cache, limits = config.cache_config, config.scheduler_config
    if cache.num_blocks is not None:
        return cache.num_blocks
    size = block_bytes(shapes, cache.block_size, format)
    useful = limits.max_num_seqs * math.ceil(config.model_config.max_model_len / cache.block_size)
    space = envs.VLLM_CPU_KVCACHE_SPACE
    if cache.memory_bytes is not None:
        given, source = cache.memory_bytes, "kv_cache_memory_bytes"
    elif space is not None:
        given, source = int(space * _GIB), "VLLM_CPU_KVCACHE_SPACE"
    else:
        free = current_platform.free_memory()
        given, source = min(_DEFAULT_BYTES, int(free * _SHARE_OF_FREE_MEMORY)), "half of the free memory"
    blocks = min(given // size, useful)
    if blocks < 1:
        raise VLLMValidationError(
            f"the KV cache has {given / 2**20:.1f} MiB ({source}), less than one block of {size / 2**20:.1f} MiB: "
            "set VLLM_CPU_KVCACHE_SPACE (GiB) higher"
        )
    return blocks


def allocate(
    attentions: list[PagedAttention], num_blocks: int, block_size: int, format: CacheFormat
) -> list[LayerCache]:
    """Each layer's cache, zeros, in a layout of kernels/attention.py: packed where the block size allows.

    Memory pages are taken when they are first written, so that an idle cache costs nothing.
    """
    return [_layer(attention, num_blocks, block_size, format) for attention in attentions]


def _layer(attention: PagedAttention, num_blocks: int, block_size: int, format: CacheFormat) -> LayerCache:
    heads, head_size = attention.shape.num_kv_heads, attention.shape.head_size
    if block_size % PACKED_BLOCK_MULTIPLE:
        shape = (num_blocks, heads, block_size, head_size)
        return LayerCache(*(_zeros(shape, format.element).transpose(1, 2) for _ in range(2)))
    pair = packed_pair(format.dtype)
    keys = _zeros((num_blocks, heads, head_size // pair, block_size, pair), format.element)
    values = _zeros((num_blocks, heads, block_size // pair, head_size, pair), format.element)
    if not format.is_quantized:
        return LayerCache(keys, values)
    if format.scale_each:
        shape = (num_blocks, heads, block_size)
        return LayerCache(keys, values, (_zeros(shape, torch.float32), _zeros(shape, torch.float32)))
    k_scale, v_scale = (torch.tensor([scale]) for scale in attention.kv_scales)
    return LayerCache(keys, values, (k_scale, v_scale))


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """numpy's zeros come untouched from the operating system; torch's are written."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return torch.from_numpy(memory[start : start + size]).view(dtype).view(shape)
