"""Sums and gathers over the ranks of a model, processes of this machine that share memory.

``memory`` is u8 ``[bytes]``, zeros at first, the same memory in all ``ranks`` processes, and begins with a cache line:
64 bytes a rank, and then two slots a rank, through which larger tensors go in pieces. ``locks`` is a file in which each
rank that lives has locked the byte of its number, or -1. All ranks call the same ops with the same shapes in the same
order, and wait for each other. A rank that has ended, or a tensor that does not fit, raises RuntimeError.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vllm.kernels import load

load()
_sum_over_ranks = torch.ops._C.sum_over_ranks.default
_gather_on_first_rank = torch.ops._C.gather_on_first_rank.default


def sum_over_ranks(x: Tensor, memory: Tensor, rank: int, ranks: int, locks: int) -> None:
    """Replace ``x``, contiguous f32, bf16 or f16, by its sum: in f32, in the order of ranks, the same bits on each."""
    _sum_over_ranks(x, memory, rank, ranks, locks)


def gather_on_first_rank(result: Tensor, x: Tensor, memory: Tensor, rank: int, ranks: int, locks: int) -> None:
    """Write everyone's ``x`` to ``result``, ``[ranks, *x.shape]`` on rank 0, without elements on all others."""
    _gather_on_first_rank(result, x, memory, rank, ranks, locks)


@torch.library.register_fake("_C::sum_over_ranks")
def _(x: Tensor, memory: Tensor, rank: int, ranks: int, locks: int) -> None:
    return None


@torch.library.register_fake("_C::gather_on_first_rank")
def _(result: Tensor, x: Tensor, memory: Tensor, rank: int, ranks: int, locks: int) -> None:
    return None
