"""CPU_ATTN: this package's kernels for the CPU, over caches packed for them where the block size allows."""

import torch
from torch import Tensor

from vllm.attention.cache_format import CacheFormat, zeros
from vllm.attention.paged import LayerCache, PagedAttention
from vllm.attention.step_input import StepInput
from vllm.kernels.attention import PACKED_BLOCK_MULTIPLE, packed_pair, paged_attention_varlen
from vllm.kernels.qkv import qkv_norm_rope_cache
from vllm.kernels.quantized_cache import paged_attention_varlen_quantized, qkv_norm_rope_quantized_cache


def allocate(
    attention: PagedAttention, num_blocks: int, block_size: int, format: CacheFormat, device: torch.device
) -> LayerCache:
    """A layer's cache, zeros, in a layout of kernels/attention.py."""
    heads, head_size = attention.shape.num_kv_heads, attention.shape.head_size
    if block_size % PACKED_BLOCK_MULTIPLE:
        shape = (num_blocks, heads, block_size, head_size)
        rows = (zeros(shape, format.element, device).transpose(1, 2) for _ in range(2))
        return LayerCache(tuple(rows), qkv_norm_rope_cache, attend)
    pair = packed_pair(format.dtype)
    keys = zeros((num_blocks, heads, head_size // pair, block_size, pair), format.element, device)
    values = zeros((num_blocks, heads, block_size // pair, head_size, pair), format.element, device)
    if not format.is_quantized:
        return LayerCache((keys, values), qkv_norm_rope_cache, attend)
    if format.scale_each:
        scales = (zeros((num_blocks, heads, block_size), torch.float32, device) for _ in range(2))
    else:
        scales = (torch.tensor([scale]) for scale in attention.kv_scales)
    return LayerCache((keys, values, *scales), qkv_norm_rope_quantized_cache, _attend_quantized)


def attend(
    out: Tensor, query: Tensor, keys: Tensor, values: Tensor, step: StepInput, scale: float, sliding_window: int
) -> None:
    """LayerCache.attend by the kernel that the device of the tensors has."""
    paged_attention_varlen(
        out, query, keys, values, step.query_start_loc, step.seq_lens, step.block_table, scale, sliding_window
    )


def _attend_quantized(
    out: Tensor,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    k_scale: Tensor,
    v_scale: Tensor,
    step: StepInput,
    scale: float,
    sliding_window: int,
) -> None:
    paged_attention_varlen_quantized(
        out, query, keys, values, k_scale, v_scale, step.query_start_loc, step.seq_lens, step.block_table, scale,
        sliding_window,
    )  # fmt: skip
