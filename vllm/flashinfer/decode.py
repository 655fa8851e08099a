"""Decode attention over a paged KV cache, planned once a step and run once a layer: ``flashinfer.decode``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vllm.flashinfer import library

_LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class _Plan:
    query_start: Tensor  # i32 [seqs + 1]
    seq_lens: Tensor  # i32 [seqs]
    block_table: Tensor  # i32 [seqs, pages]
    heads: tuple[int, int, int]  # of the query, of the cache, size
    page_size: int
    sliding_window: int  # tokens that a query sees, itself included; 0: all
    soft_cap: float
    scale: float
    dtype: torch.dtype | None


class BatchDecodeWithPagedKVCacheWrapper:
    """One query token a sequence, or a few, over pages of keys and values; bf16 or f16.

    Args:
        float_workspace_buffer: only its device is used.
        kv_layout: order of a page: ``"NHD"`` (slots, KV heads, head size) or ``"HND"``.
        use_cuda_graph: keep every plan at the same addresses, so that a captured `run` follows the last `plan`. The
            buffers below then say for how many sequences (`paged_kv_last_page_len_buffer`) and pages
            (`paged_kv_indices_buffer`), and a table of their product is kept.
        use_tensor_cores, backend: accepted; there is one kernel.

    Raises:
        ValueError: an argument is not among those offered.
    """

    def __init__(
        self, float_workspace_buffer: Tensor, kv_layout: str = "NHD", use_cuda_graph: bool = False,
        use_tensor_cores: bool = False, paged_kv_indptr_buffer: Tensor | None = None,
        paged_kv_indices_buffer: Tensor | None = None, paged_kv_last_page_len_buffer: Tensor | None = None,
        backend: str = "auto",
    ) -> None:  # fmt: skip
        if kv_layout not in ("NHD", "HND"):
            raise ValueError(f"kv_layout is {kv_layout!r}, expected 'NHD' or 'HND'")
        self._layout = kv_layout
        self._device = float_workspace_buffer.device
        self._planned: _Plan | None = None
        self._kept: tuple[Tensor, Tensor] | None = None
        if use_cuda_graph:
            if paged_kv_indices_buffer is None or paged_kv_last_page_len_buffer is None:
                raise ValueError(
                    "use_cuda_graph needs paged_kv_indices_buffer and paged_kv_last_page_len_buffer: pass both"
                )
            seqs, pages = len(paged_kv_last_page_len_buffer), len(paged_kv_indices_buffer)
            self._kept = self._zeros(seqs), self._zeros(seqs, pages)

    def plan(
        self, indptr: Tensor, indices: Tensor, last_page_len: Tensor, num_qo_heads: int, num_kv_heads: int,
        head_dim: int, page_size: int, pos_encoding_mode: str = "NONE", window_left: int = -1,
        logits_soft_cap: float | None = None, q_data_type: torch.dtype | str | None = None,
        kv_data_type: torch.dtype | str | None = None, o_data_type: torch.dtype | str | None = None,
        data_type: torch.dtype | str | None = None, sm_scale: float | None = None, rope_scale: float | None = None,
        rope_theta: float | None = None, non_blocking: bool = True, block_tables: Tensor | None = None,
        seq_lens: Tensor | None = None, fixed_split_size: int | None = None, disable_split_kv: bool = False,
        q_len_per_req: int = 1,
    ) -> None:  # fmt: skip
        """Say which pages the sequences have, for the runs that follow.

        Args:
            indptr: i32 ``[seqs + 1]``: the pages of sequence ``s`` are ``indices[indptr[s]:indptr[s + 1]]``.
            indices: i32, numbers of pages.
            last_page_len: i32 ``[seqs]``: slots that are filled in each sequence's last page, at least 1.
            pos_encoding_mode: ``"NONE"`` alone is offered.
            window_left: tokens before itself that a query sees; -1: all.
            logits_soft_cap: cap of the logits by a scaled tanh; None or 0: none.
            q_data_type, kv_data_type, o_data_type: of the query, the pages and the result: one type, which `data_type`
                names, too. Checked by `run` where any is given.
            sm_scale: factor of the logits; None: ``head_dim ** -0.5``.
            q_len_per_req: query tokens of each sequence, the last ones of what its pages hold.
            rope_scale, rope_theta, non_blocking, block_tables, seq_lens, fixed_split_size, disable_split_kv: accepted;
                nothing is rotated here, pages are those of `indices`, and the kernel splits keys its own way.

        Raises:
            ValueError: an argument is not offered or does not fit the buffers of a CUDA graph.
        """
        if pos_encoding_mode != "NONE":
            raise ValueError(f"pos_encoding_mode is {pos_encoding_mode!r}, expected 'NONE': rotate keys beforehand")
        dtype = _one_dtype(
            q_data_type=q_data_type, kv_data_type=kv_data_type, o_data_type=o_data_type, data_type=data_type
        )
        indptr, last = indptr.to(self._device), last_page_len.to(self._device)
        pages = indptr.diff()
        lens = torch.where(pages > 0, (pages - 1) * page_size + last, 0).int()
        block_table = _block_table(indptr, indices.to(self._device), int(pages.max()) if len(pages) else 0)
        if self._kept is not None:
            lens, block_table = self._keep(lens, block_table)
        self._planned = _Plan(
            torch.arange(len(lens) + 1, dtype=torch.int32, device=self._device) * q_len_per_req,
            lens,
            block_table,
            (num_qo_heads, num_kv_heads, head_dim),
            page_size,
            window_left + 1 if window_left >= 0 else 0,
            logits_soft_cap or 0.0,
            head_dim**-0.5 if sm_scale is None else sm_scale,
            dtype,
        )

    def run(
        self, q: Tensor, paged_kv_cache: Tensor | tuple[Tensor, Tensor], *, q_scale: float | None = None,
        k_scale: float | None = None, v_scale: float | None = None, out: Tensor | None = None,
        lse: Tensor | None = None, return_lse: bool = False, enable_pdl: bool | None = None,
        window_left: int | None = None, sinks: Tensor | None = None, kv_cache_sf: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
        """Attention of ``q`` ``[tokens, heads, head_size]`` over the planned pages.

        Args:
            paged_kv_cache: keys and values, ``[pages, page_size, kv_heads, head_size]`` each (``NHD``), or one tensor
                with both as its second dimension.
            q_scale, k_scale, v_scale: factors of what the tensors hold.
            out: where the result goes; made where it is None. `lse` alike, f32 ``[tokens, heads]``.
            enable_pdl: accepted; kernels are launched one after the other.
            window_left: the plan's, where it is given.
            sinks, kv_cache_sf: None alone is offered.

        Returns:
            The result, and with `return_lse` the base-2 logarithm of the sums of exponentials.

        Raises:
            RuntimeError: there is no plan, or a tensor does not fit it.
            ValueError: an argument is not offered.
        """
        plan = self._planned
        if plan is None:
            raise RuntimeError("there is no plan yet: call plan() before run()")
        _refuse(plan, window_left, sinks=sinks, kv_cache_sf=kv_cache_sf)
        keys, values = self._unpack(paged_kv_cache)
        _check(plan, q, keys)
        out = torch.empty_like(q) if out is None else out
        sums = torch.empty(q.shape[1], q.shape[0], dtype=torch.float32, device=q.device) if return_lse else None
        scale = plan.scale * (1.0 if q_scale is None else q_scale) * (1.0 if k_scale is None else k_scale)
        library.attention_op()(
            out, q, keys, values, plan.query_start, plan.seq_lens, plan.block_table, scale, plan.sliding_window,
            plan.soft_cap, None, sums,
        )  # fmt: skip
        if v_scale is not None:
            out *= v_scale
        if sums is None:
            return out
        lse = torch.empty_like(sums.t(), memory_format=torch.contiguous_format) if lse is None else lse
        return out, torch.mul(sums.t(), _LOG2_E, out=lse)

    @property
    def is_cuda_graph_enabled(self) -> bool:
        """Whether plans stay at the same addresses."""
        return self._kept is not None

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int32, device=self._device)

    def _keep(self, seq_lens: Tensor, block_table: Tensor) -> tuple[Tensor, Tensor]:
        kept_lens, kept_table = self._kept
        if seq_lens.shape != kept_lens.shape or block_table.shape[1] > kept_table.shape[1]:
            raise ValueError(
                f"the plan has {len(seq_lens)} sequences of up to {block_table.shape[1]} pages, expected "
                f"{len(kept_lens)} of up to {kept_table.shape[1]}, for which the buffers of the CUDA graph are"
            )
        kept_lens.copy_(seq_lens)
        kept_table[:, : block_table.shape[1]] = block_table
        return self._kept

    def _unpack(self, cache: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        keys, values = cache.unbind(1) if isinstance(cache, Tensor) else cache
        return (keys, values) if self._layout == "NHD" else (keys.transpose(1, 2), values.transpose(1, 2))


def _one_dtype(**given: torch.dtype | str | None) -> torch.dtype | None:
    """The type that all have that are not None."""
    types = {name: getattr(torch, x) if isinstance(x, str) else x for name, x in given.items() if x is not None}
    if len(set(types.values())) > 1:
        said = ", ".join(f"{name} {dtype}" for name, dtype in types.items())
        raise ValueError(f"the plan has {said}, expected one type: queries, pages and results of two are not offered")
    return next(iter(types.values()), None)


def _block_table(indptr: Tensor, indices: Tensor, width: int) -> Tensor:
    """i32 [seqs, width]: each sequence's pages, then 0."""
    place = indptr[:-1, None] + torch.arange(width, device=indptr.device)
    known = place < indptr[1:, None]
    return torch.where(known, indices[torch.where(known, place, 0)], 0).int()


def _refuse(plan: _Plan, window_left: int | None, **tensors: Tensor | None) -> None:
    """Arguments of `run` that other kernels of FlashInfer's take."""
    for name, tensor in tensors.items():
        if tensor is not None:
            raise ValueError(f"{name} is a tensor, expected None: this kernel has none")
    planned = plan.sliding_window - 1
    if window_left not in (None, planned):
        raise ValueError(f"window_left is {window_left}, expected the plan's {planned}: give it to plan()")


def _check(plan: _Plan, q: Tensor, keys: Tensor) -> None:
    given = (*q.shape[1:2], *keys.shape[2:3], *q.shape[2:3])
    if given != plan.heads or keys.shape[1] != plan.page_size:
        raise RuntimeError(
            f"q is {list(q.shape)} and the keys, as NHD, are {list(keys.shape)}, expected the plan's "
            f"{plan.heads[0]} and {plan.heads[1]} heads of {plan.heads[2]}, {plan.page_size} slots a page"
        )
    if plan.dtype is not None and q.dtype != plan.dtype:
        raise RuntimeError(f"q is {q.dtype}, expected the plan's {plan.dtype}")
