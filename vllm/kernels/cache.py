"""Writes to paged key and value caches.

``key`` and ``value`` are ``[tokens, heads, head_size]`` f32, bf16 or f16 with contiguous heads; caches have their
dtype: on CPU ``kv_cache_dtype`` must be ``"auto"`` and the scales are not read. ``slot_mapping`` is i64, ``block *
block_size + offset`` for each token; a negative one is skipped. It may be shorter than ``key``, whose rest is padding.
Anything that does not fit, or a slot outside the cache, raises RuntimeError.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_ops = torch.ops._C_cache_ops
_reshape_and_cache = _ops.reshape_and_cache.default
_reshape_and_cache_flash = _ops.reshape_and_cache_flash.default
_concat_and_cache_mla = _ops.concat_and_cache_mla.default
_swap_blocks = _ops.swap_blocks.default


def reshape_and_cache(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slot_mapping: Tensor,
    kv_cache_dtype: str,
    k_scale: Tensor,
    v_scale: Tensor,
) -> None:
    """Store into the classic layout, contiguous.

    ``key_cache`` is ``[blocks, heads, head_size / x, block_size, x]``, ``value_cache`` ``[blocks, heads, head_size,
    block_size]``.
    """
    _reshape_and_cache(key, value, key_cache, value_cache, slot_mapping, kv_cache_dtype, k_scale, v_scale)


def reshape_and_cache_flash(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slot_mapping: Tensor,
    kv_cache_dtype: str,
    k_scale: Tensor,
    v_scale: Tensor,
) -> None:
    """Store into caches ``[blocks, block_size, heads, head_size]``: heads contiguous, other strides free."""
    _reshape_and_cache_flash(key, value, key_cache, value_cache, slot_mapping, kv_cache_dtype, k_scale, v_scale)


def concat_and_cache_mla(
    kv_c: Tensor, k_pe: Tensor, kv_cache: Tensor, slot_mapping: Tensor, kv_cache_dtype: str, scale: Tensor
) -> None:
    """Store ``kv_c`` ``[tokens, rank]`` and ``k_pe`` ``[tokens, rope_size]`` side by side: the latents of MLA.

    ``kv_cache`` is ``[blocks, block_size, rank + rope_size]``: slots contiguous, other strides free.
    """
    _concat_and_cache_mla(kv_c, k_pe, kv_cache, slot_mapping, kv_cache_dtype, scale)


def swap_blocks(src: Tensor, dst: Tensor, block_size_in_bytes: int, block_mapping: Tensor) -> None:
    """Copy blocks of contiguous ``src`` to ``dst``; ``block_mapping`` is i64 ``[pairs, (source, destination)]``."""
    _swap_blocks(src, dst, block_size_in_bytes, block_mapping)


@torch.library.register_fake("_C_cache_ops::reshape_and_cache")
@torch.library.register_fake("_C_cache_ops::reshape_and_cache_flash")
def _(
    key: Tensor, value: Tensor, key_cache: Tensor, value_cache: Tensor, slot_mapping: Tensor, kv_cache_dtype: str,
    k_scale: Tensor, v_scale: Tensor,
) -> None:  # fmt: skip
    return None


@torch.library.register_fake("_C_cache_ops::concat_and_cache_mla")
def _(kv_c: Tensor, k_pe: Tensor, kv_cache: Tensor, slot_mapping: Tensor, kv_cache_dtype: str, scale: Tensor) -> None:
    return None


@torch.library.register_fake("_C_cache_ops::swap_blocks")
def _(src: Tensor, dst: Tensor, block_size_in_bytes: int, block_mapping: Tensor) -> None:
    return None
