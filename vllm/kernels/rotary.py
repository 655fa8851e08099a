"""Rotary position embedding (Su et al., 2021), in f32 and rounded once to the tensors' dtype (f32, bf16 or f16)."""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_rotary_embedding = torch.ops._C.rotary_embedding.default


def rotary_embedding(
    positions: Tensor,
    query: Tensor,
    key: Tensor | None,
    head_size: int,
    cos_sin_cache: Tensor,
    is_neox: bool = True,
    rope_dim_offset: int = 0,
    inverse: bool = False,
) -> None:
    """Rotate ``rotary_size`` elements of every head of ``query`` and ``key``, in place.

    Args:
        positions: i64 ``[tokens]`` or ``[batch, tokens]``, each a row of ``cos_sin_cache``.
        query: ``[*positions.shape, heads * head_size]`` or ``[*positions.shape, heads, head_size]``; the last dimension
            contiguous, others with any stride.
        key: the same with its own number of heads, or None.
        head_size: at most 1024.
        cos_sin_cache: ``[max_position, rotary_size]``: cosines, then sines; f32 or the dtype of ``query``.
        is_neox: pair element ``i`` with ``i + rotary_size / 2``; otherwise ``2 i`` with ``2 i + 1``.
        rope_dim_offset: the first rotated element of a head.
        inverse: rotate back.

    Raises:
        RuntimeError: a tensor does not fit, or a position lies outside the cache.
    """
    _rotary_embedding(positions, query, key, head_size, cos_sin_cache, is_neox, rope_dim_offset, inverse)


@torch.library.register_fake("_C::rotary_embedding")
def _(
    positions: Tensor, query: Tensor, key: Tensor | None, head_size: int, cos_sin_cache: Tensor, is_neox: bool,
    rope_dim_offset: int = 0, inverse: bool = False,
) -> None:  # fmt: skip
    return None
