"""Takes memory from the operating system before it is needed."""

import contextlib
import ctypes
import mmap
import os
import sys
import threading

from torch import Tensor

_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE of Linux 5.14 and later: pages become present, what they hold stays
_CHUNK = 256 << 10  # bytes that one call populates: it blocks changes of the process's memory map for that long


def populate(tensors: list[Tensor], most_bytes: int) -> None:
    """Makes the beginnings of the tensors' memory present, `most_bytes` of it in equal shares.

    Contents stay, also those that others write meanwhile. Does nothing where the system has no such call.
    """
    if sys.platform != "linux" or not tensors:
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    page, share = mmap.PAGESIZE, most_bytes // len(tensors)
    spans = [(-(-t.data_ptr() // page) * page, t.data_ptr() + min(t.nbytes, share)) for t in tensors]
    for offset in range(0, share, _CHUNK):
        for begin, end in spans:
            size = min(_CHUNK, end - begin - offset) // page * page
            if size > 0 and madvise(begin + offset, size, _POPULATE_WRITE) != 0:
                return


def populate_in_background(tensors: list[Tensor], most_bytes: int) -> None:
    """`populate` on a thread of its own, which keeps the tensors until it is done and runs when nothing else does."""
    arguments = (tensors, most_bytes)
    threading.Thread(target=_populate_when_idle, args=arguments, name="page-warmup", daemon=True).start()


def _populate_when_idle(tensors: list[Tensor], most_bytes: int) -> None:
    if hasattr(os, "SCHED_IDLE"):
        # Where the system refuses, requests that come right after the start share their processors with it.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # 0: this thread
    populate(tensors, most_bytes)
