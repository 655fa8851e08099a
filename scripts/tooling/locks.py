"""One writer at a time: file locks that the kernel releases when their holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tooling.progress import Progress


@contextmanager
def exclusive(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock file `path`; when another process has it, say so and wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not try_lock(descriptor, fcntl.LOCK_EX):
            holder = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
            with progress.step(f"Waiting for another run (process {holder}) that is changing {path.parent}") as step:
                while not try_lock(descriptor, fcntl.LOCK_EX):
                    time.sleep(0.2)
                    step.update()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, kind: int) -> bool:
    """Take the lock on an open file without waiting; False when another process prevents it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def hold_shared(path: Path) -> None:
    """Mark `path` as in use for as long as this process lives, across `exec`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.set_inheritable(descriptor, True)


def in_use(path: Path) -> bool:
    """Whether some process holds `path` by `hold_shared`."""
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return not try_lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)
