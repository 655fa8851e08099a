"""The KV cache's memory: how much of it, and one tensor a layer."""

import math
from collections.abc import Callable

import torch

from vllm import envs
from vllm.attention.cache_format import CacheFormat
from vllm.attention.packed import attend as attend_by_kernel
from vllm.attention.paged import AttentionShape, LayerCache, PagedAttention
from vllm.attention.registry import backend_module
from vllm.config import DeviceConfig, VllmConfig
from vllm.exceptions import VLLMValidationError
from vllm.platforms import current_platform

_GIB = 2**30
_DEFAULT_BYTES = 4 * _GIB
# Of the memory that is free once the weights are loaded; the rest is for activations and everybody else.
_SHARE_OF_FREE_MEMORY = 0.5


def block_bytes(shapes: list[AttentionShape], block_size: int, format: CacheFormat) -> int:
    """Bytes of one block over all layers."""
    return sum(format.token_bytes(s.num_kv_heads, s.head_size) * block_size for s in shapes)


def number_of_blocks(
    config: VllmConfig, shapes: list[AttentionShape], format: CacheFormat, measure: Callable[[], int] | None = None
) -> int:
    """From the configured size; else from free memory, and never more than the limits could use.

    `measure` gives the bytes that a GPU has left. Raises VLLMValidationError where not even one block fits.
    """
    cache, limits = config.cache_config, config.scheduler_config
    if cache.num_blocks is not None:
        return cache.num_blocks
    size = block_bytes(shapes, cache.block_size, format)
    useful = limits.max_num_seqs * math.ceil(config.model_config.max_model_len / cache.block_size)
    space, advice = envs.VLLM_CPU_KVCACHE_SPACE, "set VLLM_CPU_KVCACHE_SPACE (GiB) higher"
    if cache.memory_bytes is not None:
        given, source = cache.memory_bytes, "kv_cache_memory_bytes"
    elif measure is not None:
        share = config.device_config.memory_utilization
        given, source = measure(), f"what {share:.0%} of the GPU leave beside weights and activations"
        advice = "set gpu_memory_utilization higher, or max_num_batched_tokens lower"
    elif space is not None:
        given, source = int(space * _GIB), "VLLM_CPU_KVCACHE_SPACE"
    else:
        free = current_platform.host_free_memory() // config.parallel_config.tensor_parallel_size
        given, source = min(_DEFAULT_BYTES, int(free * _SHARE_OF_FREE_MEMORY)), "half of the free memory"
    blocks = min(given // size, useful)
    if blocks < 1:
        raise VLLMValidationError(
            f"the KV cache has {given / 2**20:.1f} MiB ({source}), less than one block of {size / 2**20:.1f} MiB: "
            + advice
        )
    return blocks


def allocate(
    attentions: list[PagedAttention], num_blocks: int, block_size: int, format: CacheFormat, device: DeviceConfig
) -> list[LayerCache]:
    """Each layer's cache, zeros, as the attention backend lays it out.

    On the host memory pages are taken when they are first written, so that an idle cache costs nothing.
    """
    backend, where = backend_module(device.attention_backend), torch.device(device.device)
    caches = [backend.allocate(attention, num_blocks, block_size, format, where) for attention in attentions]
    if "paged_attention_varlen" in device.own_kernels and not format.is_quantized:
        for cache in caches:
            cache.attend = attend_by_kernel
    return caches
