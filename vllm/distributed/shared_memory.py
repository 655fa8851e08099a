"""Memory that the ranks of a model share, and exchanges through it: microseconds where sockets take hundreds."""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref

import numpy as np
import torch
from torch import Tensor

from vllm.kernels.rank_exchange import gather_on_first_rank, sum_over_ranks

# Of a rank's part of a tensor; larger ones go in pieces. Most are smaller: 512 tokens of a model of width 1,024.
_SLOT_BYTES = 1 << 20
_LINE = 64


def create(ranks: int) -> int | None:
    """A file for as many ranks, which each of them attaches to; None where this system has no such files."""
    try:
        descriptor = os.memfd_create("vllm-ranks")
    except (AttributeError, OSError):  # not Linux, or a sandbox that refuses it
        return None
    os.truncate(descriptor, ranks * (_LINE + 2 * _SLOT_BYTES))
    return descriptor


class SharedMemory:
    """A rank's view of the file behind `descriptor`, which it closes in the end. Pages exist once they are written."""

    def __init__(self, descriptor: int, rank: int, ranks: int):
        self._descriptor, self._rank, self._ranks = descriptor, rank, ranks
        weakref.finalize(self, os.close, descriptor)
        # The system unlocks it when this process ends, however that happens: others wait for it no longer.
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, rank)
        self._memory = torch.from_numpy(np.frombuffer(mmap.mmap(descriptor, 0), np.uint8))

    def all_reduce(self, x: Tensor) -> None:
        """As Group.all_reduce, in f32 in the order of ranks."""
        sum_over_ranks(x, self._memory, self._rank, self._ranks, self._descriptor)

    def gather(self, x: Tensor) -> list[Tensor]:
        """As Group.gather."""
        received = x.new_empty((self._ranks if self._rank == 0 else 0, *x.shape))
        gather_on_first_rank(received, x, self._memory, self._rank, self._ranks, self._descriptor)
        return list(received)
