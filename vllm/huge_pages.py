"""Weights side by side in memory that the operating system may hold in pages of 2 MiB.

Memory of its own begins and ends anywhere, so a weight of a few MiB gets few such pages or none; in pages of 4 KiB,
walks through page tables and prefetchers that stop at their ends cost several per cent of what reading takes.
"""

import ctypes
import math
import sys

import torch
from torch import Tensor

_HUGE_PAGE = 2 << 20
_CHUNK = 16 * _HUGE_PAGE
_LARGE = 2 * _HUGE_PAGE  # bytes from which a tensor of its own has huge pages in any case
_CACHE_LINE = 64
_MADV_HUGEPAGE = 14


class HugePages:
    """Copies small tensors into chunks of 32 MiB, of which pages exist as they are filled."""

    def __init__(self) -> None:
        self._free = torch.empty(0, dtype=torch.uint8)

    def place(self, tensor: Tensor) -> Tensor:
        """The contiguous `tensor`, or where that gains something a copy of it in a chunk."""
        if sys.platform != "linux" or tensor.device.type != "cpu" or not 0 < tensor.nbytes < _LARGE:
            return tensor
        if self._free.numel() < tensor.nbytes:
            self._free = _new_chunk()
        place = self._free[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        self._free = self._free[math.ceil(tensor.nbytes / _CACHE_LINE) * _CACHE_LINE :]
        return place.copy_(tensor)


def _new_chunk() -> Tensor:
    """[_CHUNK] bytes from a boundary of huge pages on."""
    memory = torch.empty(_CHUNK + _HUGE_PAGE, dtype=torch.uint8)
    chunk = memory[-memory.data_ptr() % _HUGE_PAGE :][:_CHUNK]
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    madvise(chunk.data_ptr(), _CHUNK, _MADV_HUGEPAGE)  # refused where the system has none: small pages do, too
    return chunk
