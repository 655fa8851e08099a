"""Paged caches on GPUs beyond writes to them: 8-bit codes, gathered blocks, as latents (MLA) need them; vLLM's names.

Caches are ``[blocks, block_size, width]`` of ``block_table`` i32 ``[seqs, max_blocks]``; ``kv_cache_dtype`` is "auto",
"fp8", "fp8_e4m3" or "fp8_e5m2", whose scales are f32 of one value. A tensor that does not fit raises RuntimeError, a
build without these kernels ImportError.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vllm.kernels import gpu_only


def _ops() -> Any:
    return gpu_only.ops("_C_cache_ops", "convert_fp8", "neither gathers nor converts caches")


def convert_fp8(output: Tensor, input: Tensor, scale: float = 1.0, kv_dtype: str = "fp8") -> None:
    """Write 8-bit codes (u8) of ``input / scale`` to ``output``, or, where ``input`` is u8, the values of its codes."""
    _ops().convert_fp8.default(output, input, scale, kv_dtype)


def gather_and_maybe_dequant_cache(
    src_cache: Tensor,
    dst: Tensor,
    block_table: Tensor,
    cu_seq_lens: Tensor,
    token_to_seq: Tensor,
    num_tokens: int,
    kv_cache_dtype: str,
    scale: Tensor,
    seq_starts: Tensor | None = None,
) -> None:
    """Copy the tokens of each sequence, one sequence after the other, to ``dst`` ``[tokens, width]``, as its type.

    Args:
        cu_seq_lens: i32 ``[seqs + 1]``, where each sequence begins in ``dst``.
        token_to_seq: i32, the sequence of each row of ``dst``.
        num_tokens: rows to write.
        seq_starts: i32 ``[seqs]``, the first token that is copied; None: 0.
    """
    _ops().gather_and_maybe_dequant_cache.default(
        src_cache, dst, block_table, cu_seq_lens, token_to_seq, num_tokens, kv_cache_dtype, scale, seq_starts
    )


def cp_gather_cache(
    src_cache: Tensor,
    dst: Tensor,
    block_table: Tensor,
    cu_seq_lens: Tensor,
    batch_size: int,
    seq_starts: Tensor | None = None,
) -> None:
    """:func:`gather_and_maybe_dequant_cache`, without a change of type, of 8-bit elements too."""
    _ops().cp_gather_cache.default(src_cache, dst, block_table, cu_seq_lens, batch_size, seq_starts)
