"""Decode attention of models with latent attention (MLA), under FlashMLA's names.

The cache holds one vector a token for all heads: the latent, which is also the value, then the key's rotated part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vllm.kernels import companion
from vllm.kernels.companion import problem

HEAD_DIM_V = 512


@dataclass
class FlashMLASchedMeta:
    """A plan of the work, as callers hand it from call to call. It stays empty: the kernel plans by shapes alone."""

    tile_scheduler_metadata: Tensor | None = None
    num_splits: Tensor | None = None


def is_flashmla_supported() -> tuple[bool, str | None]:
    """Whether the kernels are installed and this GPU runs them, and if not, why, in one line."""
    reason = problem("_flashmla_C", "'vllm=*=cuda*'")
    if reason is None and not torch.cuda.is_available():
        reason = "FlashMLA's kernels are for GPUs of compute capability 9.0, 10 and 11, and torch sees no GPU"
    if reason is None and torch.cuda.get_device_capability()[0] not in (9, 10, 11):
        found = ".".join(map(str, torch.cuda.get_device_capability()))
        reason = f"FlashMLA's kernels are for GPUs of compute capability 9.0, 10 and 11; this one has {found}"
    return reason is None, reason


def get_mla_metadata(*_: object, **__: object) -> tuple[FlashMLASchedMeta, None]:
    """A plan for `flash_mla_with_kvcache`; no argument is needed, and those that callers give change nothing."""
    return FlashMLASchedMeta(), None


def _ops():
    supported, reason = is_flashmla_supported()
    if not supported:
        raise ImportError(reason)
    return companion.ops("_flashmla_C", "'vllm=*=cuda*'", register_fakes)


def register_fakes(namespace: str) -> None:
    """Tell torch.compile the shapes of the op's results."""

    @torch.library.register_fake(f"{namespace}::dense_decode_fwd")
    def _(q, kcache, head_size_v, seqlens_k, block_table, scale, causal, plan, num_splits, out):
        seqs, tokens, heads, _ = q.shape
        lse = q.new_empty((seqs, tokens, heads), dtype=torch.float32).transpose(1, 2)
        return q.new_empty(seqs, tokens, heads, head_size_v) if out is None else out, lse, plan, num_splits


def _refuse(**options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise NotImplementedError(f"flash_mla_with_kvcache has no {given[0]}: leave it out")


def flash_mla_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    block_table: Tensor,
    cache_seqlens: Tensor,
    head_dim_v: int,
    tile_scheduler_metadata: FlashMLASchedMeta,
    num_splits: None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    is_fp8_kvcache: bool = False,
    indices: Tensor | None = None,
    attn_sink: Tensor | None = None,
    extra_k_cache: Tensor | None = None,
    extra_indices_in_kvcache: Tensor | None = None,
    topk_length: Tensor | None = None,
    extra_topk_length: Tensor | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention of each sequence's last tokens over its cached latents.

    Args:
        q: ``[seqs, tokens, heads, width]`` bf16 or f16; ``width`` a multiple of 16 from 512 to 576.
        k_cache: ``[blocks, block_size, 1, width]``; a value is the first 512 elements.
        block_table: ``[seqs, blocks]`` i32.
        cache_seqlens: ``[seqs]`` i32, the query's tokens included.
        head_dim_v: 512.
        tile_scheduler_metadata: what `get_mla_metadata` returned.
        softmax_scale: default ``width ** -0.5``.
        causal: hide from a token the ones after it.
        out: receives the result.

    Returns:
        ``[seqs, tokens, heads, 512]`` and the log-sum-exp ``[seqs, heads, tokens]`` f32; zeros and -infinity where a
        query sees no key.

    Raises:
        ImportError: the kernels are not installed or not for this GPU.
        NotImplementedError, RuntimeError: an option that is not there, arguments that do not fit.
    """
    _refuse(
        num_splits=num_splits, is_fp8_kvcache=is_fp8_kvcache or None, indices=indices, attn_sink=attn_sink,
        extra_k_cache=extra_k_cache, extra_indices_in_kvcache=extra_indices_in_kvcache, topk_length=topk_length,
        extra_topk_length=extra_topk_length,
    )  # fmt: skip
    scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
    plan = tile_scheduler_metadata
    found, lse, plan.tile_scheduler_metadata, plan.num_splits = _ops().dense_decode_fwd(
        q, k_cache, head_dim_v, cache_seqlens, block_table, scale, causal, plan.tile_scheduler_metadata,
        plan.num_splits, out,
    )  # fmt: skip
    return found, lse
