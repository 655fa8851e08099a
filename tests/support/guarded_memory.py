"""Tensors that end where the process may not read."""

from __future__ import annotations

import ctypes
import mmap
import os

import torch
from torch import Tensor

_LIBC = ctypes.CDLL(None, use_errno=True)
_NO_ACCESS = 0


def guarded(tensor: Tensor) -> Tensor:
    """A contiguous copy with nothing readable right behind it."""
    pages = -(-tensor.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, pages + mmap.PAGESIZE)
    copy = torch.frombuffer(memory, dtype=tensor.dtype, count=tensor.numel(), offset=pages - tensor.nbytes)
    end = ctypes.c_void_p(copy.data_ptr() + tensor.nbytes)
    assert _LIBC.mprotect(end, ctypes.c_size_t(mmap.PAGESIZE), _NO_ACCESS) == 0, os.strerror(ctypes.get_errno())
    return copy.view(tensor.shape).copy_(tensor)
