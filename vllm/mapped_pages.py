"""Gives back the memory of file pages that were read through a mapping and are not needed any more."""

import ctypes
import mmap
import sys
from pathlib import Path

from torch import Tensor

# Bytes that may be resident before they are given back: fewer calls, and tensors that are used together stay.
_LIMIT = 32 << 20


class MappedPages:
    """Tensors that may be views of mapped files and are only read: their pages are read again where they are needed."""

    def __init__(self, paths: list[Path]):
        self._files = tuple(str(path.resolve()) for path in paths)
        self._ranges: list[tuple[int, int]] = []
        self._bytes = 0

    def note(self, tensor: Tensor) -> None:
        """A tensor that will be read; those noted before have been, once they are many."""
        if self._bytes > _LIMIT:
            self.release()
        self._ranges.append((tensor.data_ptr(), tensor.nbytes))
        self._bytes += tensor.nbytes

    def release(self) -> None:
        """Drops whole pages of all noted tensors that do lie in a mapped file; Linux only."""
        ranges, self._ranges, self._bytes = self._ranges, [], 0
        if not sys.platform.startswith("linux"):
            return
        files = _mapped_ranges(self._files)
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for start, size in ranges:
            if not any(low <= start and start + size <= high for low, high in files):
                continue  # a copy: its only one
            first, end = -(-start // mmap.PAGESIZE), (start + size) // mmap.PAGESIZE
            if end > first:
                madvise(first * mmap.PAGESIZE, (end - first) * mmap.PAGESIZE, mmap.MADV_DONTNEED)


def _mapped_ranges(files: tuple[str, ...]) -> list[tuple[int, int]]:
    """Address ranges of this process that are mappings of these files."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split(maxsplit=1)[0].split("-") for line in lines if line.endswith(files)]
    return [(int(low, 16), int(high, 16)) for low, high in spans]
