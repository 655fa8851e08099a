"""Attention over a paged KV cache: prefill, decode, chunks of prompts and mixtures of them in one call.

Query, output and caches share one dtype (bf16, f16 or f32); sums are f32. The head size is a multiple of 8 up to 256,
the number of query heads a multiple of the number of KV heads. A token's bits depend on its own sequence up to its
position alone: not on the batch, on how its prompt is chunked, or on the number of threads. A tensor that does not fit
raises RuntimeError.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_paged_attention_varlen = torch.ops._C.paged_attention_varlen.default

PACKED_BLOCK_MULTIPLE = 16


def packed_pair(dtype: torch.dtype) -> int:
    """Neighbours that lie together in the packed layout: operands of dot products of bf16 pairs."""
    return 2 if dtype == torch.bfloat16 else 1


def paged_attention_varlen(
    out: Tensor,
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    query_start_loc: Tensor,
    seq_lens: Tensor,
    block_table: Tensor,
    scale: float,
    sliding_window: int = 0,
    soft_cap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    lse: Tensor | None = None,
) -> None:
    """Write causal attention of ``query`` to ``out``, both ``[tokens, heads, head_size]`` with adjacent last elements.

    Args:
        key_cache, value_cache: ``[blocks, block_size, kv_heads, head_size]``, any strides but the last; or packed,
            which decodes faster: keys ``[blocks, kv_heads, head_size / p, block_size, p]``, values
            ``[blocks, kv_heads, block_size / p, head_size, p]`` with ``p = packed_pair(dtype)``, ``block_size`` a
            multiple of ``PACKED_BLOCK_MULTIPLE`` and a head's part of a block contiguous.
        query_start_loc: i32 ``[seqs + 1]``; sequence ``i`` has the tokens from ``[i]`` up to ``[i + 1]``, which are its
            last positions. Their keys and values are in the cache already.
        seq_lens: i32 ``[seqs]``, lengths with the query tokens.
        block_table: i32 ``[seqs, max_blocks]``, cache blocks of each sequence in order.
        scale: factor of the dot products.
        sliding_window: positions that a token sees, its own included; 0 for all.
        soft_cap: logits become ``soft_cap * tanh(logit / soft_cap)``; 0 for none.
        alibi_slopes: f32 ``[heads]``; logits gain ``slope * (key position - query position)``.
        lse: f32 ``[heads, tokens]``, receives the logarithm of each row's sum of exponentials.
    """
    _paged_attention_varlen(
        out,
        query,
        key_cache,
        value_cache,
        query_start_loc,
        seq_lens,
        block_table,
        scale,
        sliding_window,
        soft_cap,
        alibi_slopes,
        lse,
    )


@torch.library.register_fake("_C::paged_attention_varlen")
def _(
    out: Tensor,
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    query_start_loc: Tensor,
    seq_lens: Tensor,
    block_table: Tensor,
    scale: float,
    sliding_window: int,
    soft_cap: float,
    alibi_slopes: Tensor | None,
    lse: Tensor | None,
) -> None:
    return None
