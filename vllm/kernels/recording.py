"""Recordings of kernel calls: a step of the same shape is repeated by one call instead of one for each kernel.

A recording holds the addresses, sizes and numbers of the calls that were made, not the tensors: it may be replayed as
long as their memory lives and they would be called with again. What the memory holds is read anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from vllm.kernels import load

load()
_begin_recording = torch.ops._C.begin_recording.default
_end_recording = torch.ops._C.end_recording.default
_replay = torch.ops._C.replay.default
_drop_recording = torch.ops._C.drop_recording.default


class Recording:
    """Kernel calls that can be made again: ``recording.replay()``."""

    __slots__ = ("_handle",)

    def __init__(self, handle: int):
        self._handle = handle

    def replay(self) -> None:
        _replay(self._handle)

    def __del__(self) -> None:
        _drop_recording(self._handle)


def record(function: Callable[[], Any]) -> Recording | None:
    """Run ``function`` and record its kernel calls; None where it calls an op of this package that records nothing.

    It must do nothing else that counts: calls of torch's own ops are made once and not recorded, and memory that is
    freed when it returns must not be an argument of a kernel.
    """
    _begin_recording()
    try:
        function()
    finally:
        handle = _end_recording()
    return Recording(handle) if handle else None
