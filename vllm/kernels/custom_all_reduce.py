"""Sums over GPUs of one machine that map each other's memory, under vLLM's names.

Who calls them opens the ranks' allocations (CUDA IPC) and passes their addresses as this process maps them. Sums are in
f32, in the order of the ranks: every rank gets the same bits. What does not fit raises RuntimeError, an installation
without these kernels ImportError.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _ops():
    ops = torch.ops._C_custom_ar
    if not hasattr(ops, "meta_size"):
        raise ImportError("custom all-reduce comes with builds of vllm for GPUs: conda install 'vllm=*=cuda*'")
    return ops


def meta_size() -> int:
    """Bytes of a rank's flags, zeroed before `init_custom_ar`; memory for the largest sum follows them."""
    return _ops().meta_size()


def init_custom_ar(ipc_tensors: list[int], rank_data: Tensor, rank: int, fully_connected: bool) -> int:
    """A group of 2, 4, 6 or 8 ranks, as its handle.

    Args:
        ipc_tensors: addresses of each rank's flags.
        rank_data: u8 on this rank's device, 64 bytes for each buffer that will be registered.
        fully_connected: whether every two GPUs reach each other directly.
    """
    return _ops().init_custom_ar(ipc_tensors, rank_data, rank, fully_connected)


def register_buffer(fa: int, ipc_tensors: list[int]) -> None:
    """Make known the addresses of one buffer of each rank that sums will be taken of."""
    _ops().register_buffer(fa, ipc_tensors)


def all_reduce(fa: int, inp: Tensor, out: Tensor, reg_buffer: int, reg_buffer_sz_bytes: int) -> None:
    """Write the ranks' sum of ``inp`` (f32, bf16 or f16; a multiple of 16 bytes) to ``out``.

    ``inp`` is a registered buffer, or is copied to the one at ``reg_buffer``. While a graph is captured it may be any,
    and `register_graph_buffers` comes before the graph's first replay.
    """
    _ops().all_reduce(fa, inp, out, reg_buffer, reg_buffer_sz_bytes)


def get_graph_buffer_ipc_meta(fa: int) -> tuple[list[int], list[int]]:
    """Handles, of 64 bytes each, and offsets of the buffers that captured sums have met."""
    return _ops().get_graph_buffer_ipc_meta(fa)


def register_graph_buffers(fa: int, handles: list[list[int]], offsets: list[list[int]]) -> None:
    """Make known what `get_graph_buffer_ipc_meta` gave on every rank."""
    _ops().register_graph_buffers(fa, handles, offsets)


def dispose(fa: int) -> None:
    """End the group on this rank."""
    _ops().dispose(fa)
