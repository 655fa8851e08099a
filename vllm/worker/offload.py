"""Weights kept on the host while their device's memory is given back; memory given back to the system."""

import ctypes
import gc
from collections.abc import Iterable

import torch
from torch import Tensor, UntypedStorage


class OffloadedWeights:
    """Empties the memory of tensors, which stay what they are and must not be used until `restore`.

    Tensors that share memory are copied once; views see the memory come back, too.
    """

    def __init__(self, tensors: Iterable[Tensor]):
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors if t.numel()}
        self._kept = [(storage, _bytes_of(storage).to("cpu", copy=True)) for storage in storages.values()]
        for storage, _ in self._kept:
            storage.resize_(0)

    def restore(self) -> None:
        for storage, kept in self._kept:
            storage.resize_(kept.numel())
            _bytes_of(storage).copy_(kept)
        self._kept = []


def return_freed_memory(device: str) -> None:
    """Gives what allocators keep of freed memory back: the C library's (glibc), and torch's of a CUDA device."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    if device == "cuda":
        torch.cuda.empty_cache()


def _bytes_of(storage: UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
