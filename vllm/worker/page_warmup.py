"""Takes memory from the operating system before it is needed."""

import atexit
import contextlib
import ctypes
import math
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

from torch import Tensor

_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE of Linux 5.14 and later: pages become present, what they hold stays
_CHUNK = 256 << 10  # bytes that one call populates: it blocks changes of the process's memory map for that long
# Behind whatever else starts now, but no lower: starved by a busy machine it would hold up `stop`, or Python's lock.
_NICENESS = 10
_QUIET_SECONDS = 0.05  # after the last step; the next one of a request that runs comes sooner


def populate(tensors: list[Tensor], most_bytes: int, before_each: Callable[[], None] = lambda: None) -> None:
    """Makes the beginnings of the tensors' memory present, `most_bytes` of it in equal shares.

    Contents stay, also those that others write meanwhile. Does nothing where the system has no such call.
    `before_each` is called before each piece of 256 KiB.
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
            if size <= 0:
                continue
            before_each()
            if madvise(begin + offset, size, _POPULATE_WRITE) != 0:
                return


class _Stopped(Exception):
    """Leaves `populate` on the thread of a PageWarmup."""


class PageWarmup:
    """`populate` on a thread of its own, which keeps the tensors until it is done and goes behind everything else.

    Beside a step it would cost more than the step saves: both threads wait for the same memory. So steps run within
    `held`.
    """

    def __init__(self, tensors: list[Tensor], most_bytes: int):
        self._quiet_from = 0.0  # time.monotonic()
        self._stopped = False
        arguments = (tensors, most_bytes)
        self._thread = threading.Thread(target=self._populate, args=arguments, name="page-warmup", daemon=True)

    def start(self) -> None:
        # A thread that runs while the interpreter ends is torn out of torch's code, which aborts the process.
        atexit.register(self.stop)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def stop(self) -> None:
        """Ends the thread where it is; the tensors are let go when this returns."""
        self._stopped = True
        self._release()
        self.join()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """It stands still within the block and for a moment after it."""
        self._quiet_from = math.inf
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        self._quiet_from = time.monotonic() + _QUIET_SECONDS

    def _populate(self, tensors: list[Tensor], most_bytes: int) -> None:
        if sys.platform == "linux":  # where priorities are those of threads
            os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
        with contextlib.suppress(_Stopped):
            populate(tensors, most_bytes, self._await_quiet)
        atexit.unregister(self.stop)

    def _await_quiet(self) -> None:
        while (wait := self._quiet_from - time.monotonic()) > 0:
            time.sleep(min(wait, _QUIET_SECONDS))
        if self._stopped:
            raise _Stopped
