"""The KV cache in 8 bits: the ops of kernels/qkv.py and kernels/attention.py over a packed cache of codes.

Keys and values are codes (int8, float8_e4m3fn or float8_e5m2) in the packed layout that the dtype of the query has,
times a scale: f32 ``[1]`` for all of them, or f32 ``[blocks, kv_heads, block_size]``, one for the head of a token.
Codes are exact in every dtype; scales of heads multiply logits and probabilities in f32. A token's code depends on
its own key and value alone, so that what the ops promise of batches, chunks and threads holds here too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_qkv_norm_rope_quantized_cache = torch.ops._C.qkv_norm_rope_quantized_cache.default
_paged_attention_varlen_quantized = torch.ops._C.paged_attention_varlen_quantized.default


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
    """As ``qkv_norm_rope_cache``, with keys and values stored as the nearest codes (ties to even, no overflow).

    Scales of token heads are written: the largest magnitude over 127, 448 (e4m3) or 57344 (e5m2). One for all is read.
    """
    _qkv_norm_rope_quantized_cache(
        qkv, positions, cos_sin_cache, q_weight, k_weight, epsilon, num_heads, num_kv_heads, head_size, is_neox,
        key_cache, value_cache, k_scale, v_scale, slot_mapping,
    )  # fmt: skip


def paged_attention_varlen_quantized(
    out: Tensor,
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    k_scale: Tensor,
    v_scale: Tensor,
    query_start_loc: Tensor,
    seq_lens: Tensor,
    block_table: Tensor,
    scale: float,
    sliding_window: int = 0,
    soft_cap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    lse: Tensor | None = None,
) -> None:
    """As ``paged_attention_varlen`` over codes; keys and values have the same kind of scales."""
    _paged_attention_varlen_quantized(
        out, query, key_cache, value_cache, k_scale, v_scale, query_start_loc, seq_lens, block_table, scale,
        sliding_window, soft_cap, alibi_slopes, lse,
    )  # fmt: skip


@torch.library.register_fake("_C::qkv_norm_rope_quantized_cache")
def _(
    qkv: Tensor, positions: Tensor, cos_sin_cache: Tensor | None, q_weight: Tensor | None, k_weight: Tensor | None,
    eps: float, num_heads: int, num_kv_heads: int, head_size: int, is_neox: bool, key_cache: Tensor,
    value_cache: Tensor, k_scale: Tensor, v_scale: Tensor, slot_mapping: Tensor,
) -> None:  # fmt: skip
    return None


@torch.library.register_fake("_C::paged_attention_varlen_quantized")
def _(
    out: Tensor, query: Tensor, key_cache: Tensor, value_cache: Tensor, k_scale: Tensor, v_scale: Tensor,
    query_start_loc: Tensor, seq_lens: Tensor, block_table: Tensor, scale: float, sliding_window: int,
    soft_cap: float, alibi_slopes: Tensor | None, lse: Tensor | None,
) -> None:  # fmt: skip
    return None
