"""The KV cache's memory: how much of it, and one tensor a layer."""

import math

import numpy as np
import torch
from torch import Tensor

from vllm import envs
from vllm.attention.paged import AttentionShape
from vllm.config import VllmConfig
from vllm.exceptions import VLLMValidationError
from vllm.kernels.attention import PACKED_BLOCK_MULTIPLE, packed_pair
from vllm.platforms import current_platform

_GIB = 2**30
_DEFAULT_BYTES = 4 * _GIB
# Of the memory that is free once the weights are loaded; the rest is for activations and everybody else.
_SHARE_OF_FREE_MEMORY = 0.5
_ALIGNMENT = 64


def block_bytes(shapes: list[AttentionShape], block_size: int, dtype: torch.dtype) -> int:
    """Bytes of one block over all layers."""
    return sum(2 * s.num_kv_heads * s.head_size * block_size * dtype.itemsize for s in shapes)


def number_of_blocks(config: VllmConfig, shapes: list[AttentionShape], dtype: torch.dtype) -> int:
    """From the configured size; else from free memory, and never more than the limits could use.

    Raises VLLMValidationError where not even one block fits.
    """
    cache, limits = config.cache_config, config.scheduler_config
    if cache.num_blocks is not None:
        return cache.num_blocks
    size = block_bytes(shapes, cache.block_size, dtype)
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
    shapes: list[AttentionShape], num_blocks: int, block_size: int, dtype: torch.dtype
) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer, zeros, in a layout of kernels/attention.py: packed where the block size allows.

    Memory pages are taken when they are first written, so that an idle cache costs nothing.
    """
    return [_layer(s, num_blocks, block_size, dtype) for s in shapes]


def _layer(s: AttentionShape, num_blocks: int, block_size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    if block_size % PACKED_BLOCK_MULTIPLE:
        shape = (num_blocks, s.num_kv_heads, block_size, s.head_size)
        return _zeros(shape, dtype).transpose(1, 2), _zeros(shape, dtype).transpose(1, 2)
    pair = packed_pair(dtype)
    keys = (num_blocks, s.num_kv_heads, s.head_size // pair, block_size, pair)
    values = (num_blocks, s.num_kv_heads, block_size // pair, s.head_size, pair)
    return _zeros(keys, dtype), _zeros(values, dtype)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """numpy's zeros come untouched from the operating system; torch's are written."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return torch.from_numpy(memory[start : start + size]).view(dtype).view(shape)
