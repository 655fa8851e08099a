"""What lies between the qkv projection and attention."""

from __future__ import annotations

import torch
from torch import Tensor


def qkv_norm_rope_cache(
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
    slot_mapping: Tensor,
) -> None:
    """Caches are contiguous ``[blocks, block_size, num_kv_heads, head_size]``; every slot must lie in them."""
    heads = (num_heads, num_kv_heads, head_size)
    key, value = norm_and_rotate(qkv, positions, cos_sin_cache, q_weight, k_weight, epsilon, heads, is_neox)
    key_cache.flatten(0, 1).index_copy_(0, slot_mapping, key.to(key_cache.dtype))
    value_cache.flatten(0, 1).index_copy_(0, slot_mapping, value)


def norm_and_rotate(
    qkv: Tensor,
    positions: Tensor,
    cos_sin_cache: Tensor | None,
    q_weight: Tensor | None,
    k_weight: Tensor | None,
    epsilon: float,
    heads: tuple[int, int, int],
    is_neox: bool,
) -> tuple[Tensor, Tensor]:
    """Queries change in place; returns keys in f32 and values as they are, ``[tokens, num_kv_heads, head_size]``.

    ``heads``: num_heads, num_kv_heads and head_size; the rest as of the ops.
    """
    num_heads, num_kv_heads, head_size = heads
    query, key, value = qkv.unflatten(-1, (-1, head_size)).split((num_heads, num_kv_heads, num_kv_heads), dim=1)
    cos_sin = None if cos_sin_cache is None else cos_sin_cache.index_select(0, positions)
    if cos_sin is not None or q_weight is not None:
        query.copy_(_rotated(query, q_weight, epsilon, cos_sin, is_neox))
    return _rotated(key, k_weight, epsilon, cos_sin, is_neox), value


def _rotated(x: Tensor, weight: Tensor | None, epsilon: float, cos_sin: Tensor | None, is_neox: bool) -> Tensor:
    """x [tokens, heads, head_size] to the same in f32; cos_sin [tokens, rotary_size]."""
    x = x.float()
    if weight is not None:
        x = x * (x.square().mean(-1, keepdim=True) + epsilon).rsqrt() * weight.float()
    if cos_sin is None:
        return x
    rotary_size = cos_sin.shape[1]
    cos, sin = cos_sin.float().unsqueeze(1).chunk(2, dim=-1)
    rotated, rest = x[..., :rotary_size], x[..., rotary_size:]
    a, b = rotated.chunk(2, dim=-1) if is_neox else (rotated[..., ::2], rotated[..., 1::2])
    pair = (a * cos - b * sin, b * cos + a * sin)
    rotated = torch.cat(pair, -1) if is_neox else torch.stack(pair, -1).flatten(-2)
    return torch.cat((rotated, rest), -1)
