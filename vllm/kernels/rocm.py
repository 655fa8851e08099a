"""Products of a weight and a few rows, and decode attention, under the names of vLLM's kernels for AMD GPUs.

``cu_count``, ``rows_per_block`` and ``mfma_type`` are upstream's: the kernels choose for themselves. Rows of tensors
start at multiples of 16 bytes. A tensor that does not fit raises RuntimeError, an installation without these kernels
ImportError.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import companion


def _ops():
    return companion.ops("_rocm_C", "'vllm=*=rocm*'", register_fakes, builds="ROCm")


def register_fakes(namespace: str) -> None:
    """Tell torch.compile the shapes of the ops' results."""
    for name in ("LLMM1", "wvSplitK"):
        torch.library.register_fake(f"{namespace}::{name}", lambda a, b, *rest: b.new_empty(b.shape[0], a.shape[0]))


def LLMM1(a: Tensor, b: Tensor, rows_per_block: int) -> Tensor:
    """``b @ a.T``: a ``[m, k]``, the weight, b ``[1, k]``, both bf16 or f16; ``[1, m]`` of their type."""
    return _ops().LLMM1(a, b, rows_per_block)


def wvSplitK(a: Tensor, b: Tensor, cu_count: int, bias: Tensor | None = None) -> Tensor:
    """``b @ a.T + bias``: a ``[m, k]``, the weight, b ``[n, k]``, bias ``[m]``, all bf16 or f16; ``[n, m]``."""
    return _ops().wvSplitK(a, b, bias, cu_count)


def wvSplitKQ(
    a: Tensor,
    b: Tensor,
    out_dtype: torch.dtype,
    scale_a: Tensor,
    scale_b: Tensor,
    cu_count: int,
    bias: Tensor | None = None,
) -> Tensor:
    """:func:`wvSplitK` of e4m3 (OCP's, not fnuz) with one f32 scale each; bias and result of ``out_dtype``."""
    out = b.new_empty((b.shape[0], a.shape[0]), dtype=out_dtype)
    _ops().wvSplitKQ(a, b, bias, out, scale_a, scale_b, cu_count)
    return out


def paged_attention_rocm(
    out: Tensor,
    exp_sum: Tensor,
    max_logits: Tensor,
    tmp_out: Tensor,
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    num_kv_heads: int,
    scale: float,
    block_tables: Tensor,
    seq_lens: Tensor,
    query_start_loc: Tensor | None,
    block_size: int,
    max_seq_len: int,
    alibi_slopes: Tensor | None,
    kv_cache_dtype: str,
    k_scale: Tensor,
    v_scale: Tensor,
    fp8_out_scale: Tensor | None = None,
    mfma_type: str = "f16",
) -> None:
    """As :func:`vllm._custom_ops.paged_attention_v2`, for the sequences that have one row in ``query_start_loc``.

    Args:
        exp_sum, max_logits: f32 ``[seqs, heads, partitions]`` with at least ``max_seq_len / 512`` partitions.
        query_start_loc: i32 ``[seqs + 1]``, rows of query and out; sequences with more or fewer than one are left
            alone. None: one row a sequence.
        fp8_out_scale: not offered, must be None.
    """
    _ops().paged_attention(
        out, exp_sum, max_logits, tmp_out, query, key_cache, value_cache, num_kv_heads, scale, block_tables, seq_lens,
        query_start_loc, block_size, max_seq_len, alibi_slopes, kv_cache_dtype, k_scale, v_scale, fp8_out_scale,
        mfma_type,
    )  # fmt: skip
