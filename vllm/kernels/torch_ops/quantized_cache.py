"""The KV cache in 8 bits: codes in the layout of qkv.py here, scales f32 ``[1]`` or ``[blocks, block_size, kv_heads]``.

Codes are moved as bytes: torch does not index every one of their types on every device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vllm.kernels.torch_ops.qkv import norm_and_rotate

_LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0, torch.float8_e5m2: 57344.0}


def qkv_norm_rope_quantized_cache(
    qkv: Tensor,
    positions: Tensor,
    cos_sin_cache: Tensor | None,
    q_weight: Tensor | None,
    k_weight: Tensor | None,
    epsilon: float,
    num_heads: int,
    num_kv_heads: int,
    head_size: int,
    is_neox: bool,
    key_cache: Tensor,
    value_cache: Tensor,
    k_scale: Tensor,
    v_scale: Tensor,
    slot_mapping: Tensor,
) -> None:
    """Every slot must lie in the caches."""
    heads = (num_heads, num_kv_heads, head_size)
    key, value = norm_and_rotate(qkv, positions, cos_sin_cache, q_weight, k_weight, epsilon, heads, is_neox)
    _store(key, key_cache, k_scale, slot_mapping)
    _store(value.float(), value_cache, v_scale, slot_mapping)


def read_blocks(codes: Tensor, scales: Tensor, blocks: Tensor, dtype: torch.dtype) -> Tensor:
    """Keys or values of ``blocks`` i32 or i64 ``[n]`` in ``dtype``: ``[n, block_size, kv_heads, head_size]``."""
    read = codes.view(torch.uint8).index_select(0, blocks).view(codes.dtype).to(dtype)
    return read.mul_(scales if scales.dim() == 1 else scales.index_select(0, blocks).unsqueeze(-1))


def _store(x: Tensor, codes: Tensor, scales: Tensor, slots: Tensor) -> None:
    """x f32 [tokens, kv_heads, head_size], to its slots in the cache."""
    largest = _LARGEST[codes.dtype]
    if scales.dim() == 1:
        x = x / scales
    else:
        scale = x.abs().amax(-1) / largest
        scales.flatten(0, 1).index_copy_(0, slots, scale)
        x = x / scale.masked_fill(scale == 0, math.inf).unsqueeze(-1)
    x = x.clamp(-largest, largest)  # what is too large for fp8 would become NaN
    nearest = (x.round() if codes.dtype == torch.int8 else x).to(codes.dtype)
    codes.view(torch.uint8).flatten(0, 1).index_copy_(0, slots, nearest.view(torch.uint8))
