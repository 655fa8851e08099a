"""What lies between the qkv projection and attention, in one pass over each token."""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_qkv_norm_rope_cache = torch.ops._C.qkv_norm_rope_cache.default


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
    """Normalize and rotate queries in place, keys into ``key_cache``; copy values into ``value_cache``.

    Norm and rotation are computed in f32 and rounded once. The keys and values in ``qkv`` stay as they are.

    Args:
        qkv: ``[tokens, (num_heads + 2 * num_kv_heads) * head_size]`` f32, bf16 or f16; rows contiguous.
        positions: i64 ``[tokens]``, read where there is a ``cos_sin_cache``.
        cos_sin_cache: ``[max_position, rotary_size]``: cosines, then sines; f32 or the dtype of ``qkv``.
            None: no rotation.
        q_weight, k_weight: ``[head_size]`` weights of an RMS norm of each head with ``epsilon``. None: no norm.
        is_neox: pair element ``i`` with ``i + rotary_size / 2``; otherwise ``2 i`` with ``2 i + 1``.
        key_cache, value_cache: ``[blocks, block_size, num_kv_heads, head_size]`` of the dtype of ``qkv``; the last
            dimension contiguous, others with any stride. Or the packed layout of ``paged_attention_varlen``.
        slot_mapping: i64 ``[tokens]``, ``block * block_size + offset``; a negative one stores nothing.

    Raises:
        RuntimeError: a tensor does not fit, or a position or slot lies outside its cache.
    """
    _qkv_norm_rope_cache(
        qkv, positions, cos_sin_cache, q_weight, k_weight, epsilon, num_heads, num_kv_heads, head_size, is_neox,
        key_cache, value_cache, slot_mapping,
    )  # fmt: skip


@torch.library.register_fake("_C::qkv_norm_rope_cache")
def _(
    qkv: Tensor, positions: Tensor, cos_sin_cache: Tensor | None, q_weight: Tensor | None, k_weight: Tensor | None,
    eps: float, num_heads: int, num_kv_heads: int, head_size: int, is_neox: bool, key_cache: Tensor,
    value_cache: Tensor, slot_mapping: Tensor,
) -> None:  # fmt: skip
    return None
