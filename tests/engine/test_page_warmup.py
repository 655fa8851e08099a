"""Memory is present once it was populated, only as much as was asked for, and holds what it held."""

import ctypes
import mmap
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from vllm.worker.page_warmup import PageWarmup, populate

PAGES = 4096
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="MADV_POPULATE_WRITE is Linux's")


def new_memory() -> Tensor:
    """Pages that were never written, aligned, without huge ones."""
    memory = mmap.mmap(-1, PAGES * mmap.PAGESIZE)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.from_numpy(np.frombuffer(memory, np.uint8))


def present(memory: Tensor) -> np.ndarray:
    flags = (ctypes.c_ubyte * PAGES)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mincore(ctypes.c_void_p(memory.data_ptr()), ctypes.c_size_t(memory.nbytes), flags) == 0
    return np.frombuffer(flags, np.uint8) & 1


def test_the_beginning_of_each_tensor_becomes_present() -> None:
    first, second = new_memory(), new_memory()
    first[5] = 77
    before = present(first).sum()
    populate([first, second], most_bytes=PAGES * mmap.PAGESIZE)
    if present(first).sum() == before:
        pytest.skip("this kernel has no MADV_POPULATE_WRITE")
    for memory in (first, second):
        assert present(memory)[: PAGES // 2].all()
        assert not present(memory)[PAGES // 2 :].any()
    assert first[5] == 77 and first.count_nonzero() == 1


def test_tensors_that_are_smaller_than_their_share_and_none_at_all() -> None:
    memory = new_memory()
    populate([memory[10 : 10 + mmap.PAGESIZE]], most_bytes=1 << 30)
    assert present(memory).sum() == 0
    populate([], most_bytes=1 << 30)


def test_a_process_of_low_priority_keeps_it() -> None:
    """As `nice -n 15` starts one; an ordinary user may not ask for more."""
    warm_up = """
import os, torch
from vllm.worker.page_warmup import PageWarmup
os.nice(15)
if os.getuid() == 0:
    os.setuid(65534)
warmup = PageWarmup([torch.zeros(8 << 20, dtype=torch.uint8)], 1 << 20)
warmup.start()
warmup.join()
"""
    done = subprocess.run([sys.executable, "-c", warm_up], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_in_the_background_once_nothing_holds_it() -> None:
    memory, by_hand = new_memory(), new_memory()
    warmup = PageWarmup([memory], most_bytes=memory.nbytes)
    with warmup.held():
        warmup.start()
        time.sleep(0.2)
        assert present(memory).sum() == 0
    warmup.join()
    populate([by_hand], most_bytes=by_hand.nbytes)
    assert present(memory).sum() == present(by_hand).sum()
