"""vLLM's functions over the native ops, under its names and with its arguments.

An op without a function here is found under its name: ``gelu_new`` is ``torch.ops._C.gelu_new``. Importing this module
registers the ops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vllm.kernels import (
    activation,  # noqa: F401  (its ops, and the fake ones that torch.compile needs)
    attention,  # noqa: F401  (the same)
    companion,
)
from vllm.kernels.cache import concat_and_cache_mla, reshape_and_cache, reshape_and_cache_flash, swap_blocks
from vllm.kernels.custom_all_reduce import (
    all_reduce,
    dispose,
    get_graph_buffer_ipc_meta,
    init_custom_ar,
    meta_size,
    register_buffer,
    register_graph_buffers,
)
from vllm.kernels.fused_quant import (
    rms_norm_dynamic_per_token_quant,
    rms_norm_per_block_quant,
    silu_and_mul_per_block_quant,
)
from vllm.kernels.latent_cache import (
    convert_fp8,
    cp_gather_cache,
    gather_and_maybe_dequant_cache,
)
from vllm.kernels.merge_states import merge_attn_states
from vllm.kernels.moe import moe_align_block_size, moe_sum, moe_wna16_gemm, topk_softmax
from vllm.kernels.norm import fused_add_rms_norm, rms_norm
from vllm.kernels.rocm import LLMM1, paged_attention_rocm, wvSplitK, wvSplitKQ
from vllm.kernels.rotary import rotary_embedding
from vllm.kernels.sampling import apply_repetition_penalties
from vllm.kernels.sampling import apply_repetition_penalties as apply_repetition_penalties_cuda
from vllm.kernels.scaled_quant import (
    cutlass_scaled_mm,
    cutlass_scaled_mm_azp,
    cutlass_scaled_mm_supports_block_fp8,
    cutlass_scaled_mm_supports_fp8,
    scaled_fp8_quant,
    scaled_int8_quant,
)
from vllm.kernels.sparse import (
    cutlass_scaled_sparse_mm,
    cutlass_sparse_compress,
    cutlass_sparse_scaled_mm_supported,
)
from vllm.kernels.torch_ops.sampling import apply_repetition_penalties as apply_repetition_penalties_torch
from vllm.kernels.wna16 import (
    awq_dequantize,
    awq_gemm,
    awq_marlin_repack,
    gptq_gemm,
    gptq_marlin_repack,
    gptq_shuffle,
    marlin_gemm,
)

__all__ = [
    "LLMM1",
    "all_reduce",
    "apply_repetition_penalties",
    "apply_repetition_penalties_cuda",
    "apply_repetition_penalties_torch",
    "awq_dequantize",
    "awq_gemm",
    "awq_marlin_repack",
    "concat_and_cache_mla",
    "convert_fp8",
    "cp_gather_cache",
    "cutlass_scaled_mm",
    "cutlass_scaled_mm_azp",
    "cutlass_scaled_mm_supports_block_fp8",
    "cutlass_scaled_mm_supports_fp8",
    "cutlass_scaled_sparse_mm",
    "cutlass_sparse_compress",
    "cutlass_sparse_scaled_mm_supported",
    "dispose",
    "fused_add_rms_norm",
    "gather_and_maybe_dequant_cache",
    "get_graph_buffer_ipc_meta",
    "gptq_gemm",
    "gptq_marlin_repack",
    "gptq_shuffle",
    "init_custom_ar",
    "marlin_gemm",
    "merge_attn_states",
    "meta_size",
    "moe_align_block_size",
    "moe_sum",
    "moe_wna16_gemm",
    "paged_attention_rocm",
    "paged_attention_v1",
    "paged_attention_v2",
    "register_buffer",
    "register_graph_buffers",
    "reshape_and_cache",
    "reshape_and_cache_flash",
    "rms_norm",
    "rms_norm_dynamic_per_token_quant",
    "rms_norm_per_block_quant",
    "rotary_embedding",
    "scaled_fp8_quant",
    "scaled_int8_quant",
    "silu_and_mul_per_block_quant",
    "swap_blocks",
    "topk_softmax",
    "wvSplitK",
    "wvSplitKQ",
]
_NAMESPACES = ("_C", "_C_cache_ops", "_moe_C", "_C_cuda_utils", "_C_custom_ar")


def __getattr__(name: str) -> Callable[..., Any]:
    if not name.startswith("__"):
        companion.problem("_moe_C", "'vllm=*=cuda*'")  # loads it, where there is one
        for namespace in _NAMESPACES:
            op = getattr(getattr(torch.ops, namespace), name, None)
            if op is not None:
                return op
    raise AttributeError(f"vllm._custom_ops has no {name!r}: this build of vllm has no such op")


def paged_attention_v1(
    out: Tensor,
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    num_kv_heads: int,
    scale: float,
    block_tables: Tensor,
    seq_lens: Tensor,
    block_size: int,
    max_seq_len: int,
    alibi_slopes: Tensor | None,
    kv_cache_dtype: str,
    k_scale: Tensor,
    v_scale: Tensor,
    tp_rank: int = 0,
    blocksparse_local_blocks: int = 0,
    blocksparse_vert_stride: int = 0,
    blocksparse_block_size: int = 64,
    blocksparse_head_sliding_step: int = 0,
) -> None:
    """Write the attention of one token a sequence over the classic cache layout to ``out``.

    Args:
        out, query: ``[seqs, heads, head_size]``.
        key_cache: ``[blocks, num_kv_heads, head_size / x, block_size, x]`` with ``x = 16 / itemsize``.
        value_cache: ``[blocks, num_kv_heads, head_size, block_size]``.
        block_tables: i32 ``[seqs, max_blocks]``.
        seq_lens: i32 ``[seqs]``.
    """
    torch.ops._C.paged_attention_v1.default(
        out, query, key_cache, value_cache, num_kv_heads, scale, block_tables, seq_lens, block_size, max_seq_len,
        alibi_slopes, kv_cache_dtype, k_scale, v_scale, tp_rank, blocksparse_local_blocks, blocksparse_vert_stride,
        blocksparse_block_size, blocksparse_head_sliding_step,
    )  # fmt: skip


def paged_attention_v2(
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
    block_size: int,
    max_seq_len: int,
    alibi_slopes: Tensor | None,
    kv_cache_dtype: str,
    k_scale: Tensor,
    v_scale: Tensor,
    tp_rank: int = 0,
    blocksparse_local_blocks: int = 0,
    blocksparse_vert_stride: int = 0,
    blocksparse_block_size: int = 64,
    blocksparse_head_sliding_step: int = 0,
) -> None:
    """:func:`paged_attention_v1`, with room for partial results in ``exp_sum``, ``max_logits`` and ``tmp_out``."""
    torch.ops._C.paged_attention_v2.default(
        out, exp_sum, max_logits, tmp_out, query, key_cache, value_cache, num_kv_heads, scale, block_tables, seq_lens,
        block_size, max_seq_len, alibi_slopes, kv_cache_dtype, k_scale, v_scale, tp_rank, blocksparse_local_blocks,
        blocksparse_vert_stride, blocksparse_block_size, blocksparse_head_sliding_step,
    )  # fmt: skip
