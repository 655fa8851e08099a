"""Attention of ragged batches over dense or paged keys, and what of it a GPU can run.

``fa_version`` 2 runs on every GPU of a build; 3 has kernels with larger tiles for compute capability 9.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vllm.kernels import companion
from vllm.kernels.companion import problem

DEFAULT_FA_VERSION = 2
PACKAGE = "vllm-flash-attn"
NAMESPACES = {2: "_vllm_fa2_C", 3: "_vllm_fa3_C"}


def fa_version_unsupported_reason(fa_version: int, device: torch.device | int | None = None) -> str | None:
    """None where ``fa_version`` runs on ``device`` (default: the current one), else why it does not, in one line.

    Raises:
        ValueError: there is no such version.
    """
    if fa_version == 4:
        return "fa_version 4 is not offered: take fa_version 2 or 3"
    if fa_version not in NAMESPACES:
        raise ValueError(f"fa_version is {fa_version}, expected one of {', '.join(map(str, NAMESPACES))}")
    reason = problem(f"vllm_flash_attn/{NAMESPACES[fa_version]}", PACKAGE)
    if reason or fa_version == 2:
        return reason
    if not torch.cuda.is_available():
        return "fa_version 3 is for GPUs of compute capability 9.0, and torch sees no GPU"
    capability = torch.cuda.get_device_capability(device)
    if capability != (9, 0):
        found = ".".join(map(str, capability))
        return f"fa_version 3 is for GPUs of compute capability 9.0, this one has {found}: take fa_version 2"
    return None


def is_fa_version_supported(fa_version: int, device: torch.device | int | None = None) -> bool:
    """Whether ``fa_version`` runs on ``device``; raises as `fa_version_unsupported_reason` does."""
    return fa_version_unsupported_reason(fa_version, device) is None


def _ops(fa_version: int):
    """The namespace of the version's ops, loaded.

    Raises:
        ImportError: its module is not installed or does not run here.
        ValueError: there is no such version.
    """
    reason = fa_version_unsupported_reason(fa_version)
    if reason:
        raise ImportError(reason)
    return companion.ops(f"vllm_flash_attn/{NAMESPACES[fa_version]}", PACKAGE, register_fakes)


def register_fakes(namespace: str) -> None:
    """Tell torch.compile the shapes of the results of either version's ops."""

    def results(q: Tensor, out: Tensor | None) -> list[Tensor]:
        lse = q.new_empty((q.shape[1], q.shape[0]), dtype=torch.float32)
        return [q.new_empty(q.shape) if out is None else out, lse]

    if namespace.startswith(NAMESPACES[2]):

        @torch.library.register_fake(f"{namespace}::varlen_fwd")
        def _(q, k, v, out, *rest):
            return results(q, out)

        return

    @torch.library.register_fake(f"{namespace}::fwd")
    def _(q, k, v, k_new, v_new, q_v, out, *rest):
        return results(q, out) + [q.new_empty(0, dtype=torch.float32) for _ in range(2)]

    @torch.library.register_fake(f"{namespace}::get_scheduler_metadata")
    def _(batch_size, *rest):
        seqused_k = rest[7]
        return seqused_k.new_empty(batch_size)


def get_scheduler_metadata(
    batch_size: int,
    max_seqlen_q: int,
    max_seqlen_k: int,
    num_heads_q: int,
    num_heads_kv: int,
    headdim: int,
    cache_seqlens: Tensor,
    qkv_dtype: torch.dtype = torch.bfloat16,
    headdim_v: int | None = None,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k_new: Tensor | None = None,
    cache_leftpad: Tensor | None = None,
    page_size: int | None = None,
    max_seqlen_k_new: int = 0,
    causal: bool = False,
    window_size: Sequence[int] = (-1, -1),
    has_softcap: bool = False,
    num_splits: int = 0,
    pack_gqa: bool | None = None,
    sm_margin: int = 0,
) -> Tensor:
    """``[batch_size]`` i32 on the GPU: into how many parts version 3 splits each sequence's keys.

    Give it to `flash_attn_varlen_func` as ``scheduler_metadata`` with the same ``max_seqlen_k`` and ``num_splits``.
    ``page_size``, ``window_size``, ``has_softcap``, ``pack_gqa`` and ``sm_margin`` change nothing.

    Raises:
        ImportError: version 3 does not run here.
        RuntimeError: an option that version 3 does not have is given.
    """
    return _ops(3).get_scheduler_metadata(
        batch_size, max_seqlen_q, max_seqlen_k, num_heads_q, num_heads_kv, headdim, headdim_v or headdim, qkv_dtype,
        cache_seqlens, cu_seqlens_q, None, cu_seqlens_k_new, None, cache_leftpad, page_size, max_seqlen_k_new, causal,
        window_size[0], window_size[1], has_softcap, num_splits, pack_gqa, sm_margin,
    )  # fmt: skip


def _check_lengths(cu_seqlens_k: Tensor | None, seqused_k: Tensor | None, block_table: Tensor | None) -> None:
    if (cu_seqlens_k is None) == (seqused_k is None):
        raise ValueError("give cu_seqlens_k (dense keys) or seqused_k (paged keys, with block_table), and not both")
    if (block_table is None) != (seqused_k is None):
        raise ValueError("seqused_k and block_table describe paged keys together: give both or neither")


def _refuse(fa_version: int, **options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise NotImplementedError(f"fa_version {fa_version} has no {given[0]}: leave it out")


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    max_seqlen_q: int,
    cu_seqlens_q: Tensor,
    max_seqlen_k: int,
    cu_seqlens_k: Tensor | None = None,
    seqused_k: Tensor | None = None,
    q_v: Tensor | None = None,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Sequence[int] | None = None,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: Tensor | None = None,
    return_softmax_lse: bool = False,
    out: Tensor | None = None,
    scheduler_metadata: Tensor | None = None,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    num_splits: int = 0,
    fa_version: int = DEFAULT_FA_VERSION,
    s_aux: Tensor | None = None,
    cp_world_size: int = 1,
    cp_rank: int = 0,
    cp_tot_seqused_k: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of sequences that lie one after another; the last query of each stands at its last key.

    Args:
        q: ``[tokens, heads, head_size]`` bf16 or f16; the head size a multiple of 8 up to 256.
        k, v: ``[keys, kv_heads, head_size]`` with ``cu_seqlens_k``, or with ``block_table``
            ``[blocks, block_size, kv_heads, head_size]``; ``heads`` is a multiple of ``kv_heads``.
        max_seqlen_q, max_seqlen_k: the longest sequence's queries and keys.
        cu_seqlens_q, cu_seqlens_k: ``[seqs + 1]`` i32, where sequences start.
        seqused_k: ``[seqs]`` i32, keys of each sequence.
        softmax_scale: default ``head_size ** -0.5``.
        causal: hide keys after a query's position.
        window_size: keys before and after its position that a query sees; -1 is all.
        softcap: ``softcap * tanh(logit / softcap)`` in place of the logits, unless 0.
        alibi_slopes: ``[heads]`` or ``[seqs, heads]`` f32; version 2 only.
        block_table: ``[seqs, blocks]`` i32.
        out: receives the result.
        num_splits: parts that a sequence's keys are split into; 0: as many as fill the GPU.
        scheduler_metadata: what `get_scheduler_metadata` returned; version 3 only.
        deterministic: results always are.
        q_descale, k_descale, v_descale: scales of 8-bit elements, which are refused; not read.
        s_aux: ``[heads]`` as ``q``, a logit of each head that joins the softmax without a value; version 3 only.

    Returns:
        ``[tokens, heads, head_size]``, and with ``return_softmax_lse`` the log-sum-exp ``[heads, tokens]`` f32, of
        ``s_aux`` too. A query that sees no key gets zeros and -infinity.

    Raises:
        ImportError: the version's kernels are not installed or do not run here.
        NotImplementedError, ValueError, RuntimeError: an option that is not there, arguments that do not fit.
    """
    _check_lengths(cu_seqlens_k, seqused_k, block_table)
    _refuse(
        fa_version, q_v=q_v, dropout_p=dropout_p or None, return_attn_probs=return_attn_probs or None,
        cp_world_size=None if cp_world_size == 1 else cp_world_size, cp_tot_seqused_k=cp_tot_seqused_k,
    )  # fmt: skip
    left, right = window_size if window_size is not None else (-1, -1)
    scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    ops = _ops(fa_version)
    if fa_version == 2:
        _refuse(2, scheduler_metadata=scheduler_metadata, s_aux=s_aux)
        starts = cu_seqlens_q if cu_seqlens_k is None else cu_seqlens_k  # not read where keys are paged
        out, lse = ops.varlen_fwd(
            q, k, v, out, cu_seqlens_q, starts, seqused_k, None, block_table, alibi_slopes, max_seqlen_q, max_seqlen_k,
            0.0, scale, False, causal, left, right, softcap, False, num_splits, None,
        )  # fmt: skip
    else:
        _refuse(3, alibi_slopes=alibi_slopes)
        out, lse, _, _ = ops.fwd(
            q, k, v, None, None, None, out, cu_seqlens_q, cu_seqlens_k, None, None, seqused_k, max_seqlen_q,
            max_seqlen_k, block_table, None, None, None, None, None, None, None, None, scale, causal, left, right,
            softcap, True, scheduler_metadata, num_splits, None, 0, s_aux, 1, 0, None,
        )  # fmt: skip
    return (out, lse) if return_softmax_lse else out
