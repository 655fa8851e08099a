"""What the ranks that hold one model together exchange."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from vllm.distributed.shared_memory import SharedMemory
from vllm.exceptions import VLLMValidationError
from vllm.partition import Part

# Ranks of one machine: nothing listens on an address that others reach.
LOOPBACK = "127.0.0.1"
# All ranks are there when they are told to connect, so one that does not come has died.
_CONNECT_TIMEOUT = timedelta(minutes=2)
# Of one exchange. Ranks wait for each other while one of them still loads its weights from a slow disk.
_TIMEOUT = timedelta(hours=1)
# Of one exchange on devices, for which all ranks have their weights already. NCCL ends a process that waits longer.
_DEVICE_TIMEOUT = timedelta(minutes=2)


class PeerLostError(RuntimeError):
    """Another rank has gone, or left an exchange half way; the ranks cannot go on."""


class Group:
    """The ranks of a model. This one: a single rank, which holds all of it and has nothing to exchange."""

    rank = 0
    size = 1
    recordable = True  # see layers/replay.py

    @property
    def part(self) -> Part:
        """This rank's part of what is split evenly."""
        return Part(self.rank, self.size)

    def needing_peers(self) -> AbstractContextManager[None]:
        """Around replays of exchanges: what fails within is PeerLostError, as it is where they are called."""
        return nullcontext()

    def all_reduce(self, x: Tensor) -> None:
        """Adds up x, contiguous and of the same shape everywhere, over the ranks, in place."""

    def gather(self, x: Tensor) -> list[Tensor]:
        """Everyone's x, contiguous and of the same shape everywhere, in the order of ranks; nothing but on rank 0."""
        return [x]

    def smallest(self, number: int) -> int:
        """The smallest of everyone's numbers; returns once every rank has asked."""
        return number


SINGLE_RANK = Group()


class ProcessGroup(Group):
    """Ranks in processes of their own on one machine.

    They exchange a GPU's tensors by torch.distributed's NCCL, which queues that on the device like a kernel; the host's
    through memory that they share, or by gloo where there is none. torch.distributed's default group is left alone: it
    belongs to the program that uses this package.
    """

    def __init__(self, store: dist.Store, rank: int, size: int, device_type: str = "cpu", shared: int | None = None):
        """Returns when all ranks have called it with the same store. PeerLostError where one does not come.

        `shared`: the file of shared_memory.create, inherited or received by this process.
        """
        self.rank, self.size = rank, size
        self._store = store  # of the rank that others find it at: as long as they may
        self._host = _Collectives(_gloo(store, rank, size), rank, size)
        self._of_tensors: _Collectives | SharedMemory = self._host
        if device_type != "cpu":
            self._of_tensors = _Collectives(_nccl(store, rank, size), rank, size)
        elif shared is not None:
            self._of_tensors = SharedMemory(shared, rank, size)
            self.smallest(0)  # all have locked their bytes
        self.recordable = isinstance(self._of_tensors, SharedMemory)

    def needing_peers(self) -> AbstractContextManager[None]:
        return _needing_peers()

    def all_reduce(self, x: Tensor) -> None:
        with _needing_peers():
            self._of_tensors.all_reduce(x)

    def gather(self, x: Tensor) -> list[Tensor]:
        with _needing_peers():
            return self._of_tensors.gather(x)

    def smallest(self, number: int) -> int:
        value = torch.tensor([number])
        with _needing_peers():
            self._host.take_smallest(value)
        return int(value.item())


class _Collectives:
    """What a group needs of one of torch.distributed's backends."""

    def __init__(self, backend: dist.Backend, rank: int, size: int):
        self._backend, self._rank, self._size = backend, rank, size
        self._minimum = dist.AllreduceOptions()
        self._minimum.reduceOp = dist.ReduceOp.MIN
        self._to_first = dist.GatherOptions()
        self._to_first.rootRank = 0

    def all_reduce(self, x: Tensor) -> None:
        self._backend.allreduce([x]).wait()

    def take_smallest(self, x: Tensor) -> None:
        self._backend.allreduce([x], self._minimum).wait()

    def gather(self, x: Tensor) -> list[Tensor]:
        received = [torch.empty_like(x) for _ in range(self._size)] if self._rank == 0 else []
        self._backend.gather([received] if received else [], [x], self._to_first).wait()
        return received


def require_backends(device_type: str) -> None:
    """Raises VLLMValidationError where torch was built without what a ProcessGroup of this device needs."""
    available = dist.is_available()
    wanted = {"gloo": available and dist.is_gloo_available()}
    if device_type != "cpu":
        wanted["NCCL"] = available and dist.is_nccl_available()
    if missing := [name for name, found in wanted.items() if not found]:
        raise VLLMValidationError(
            f"tensor_parallel_size is accepted with a torch that has {' and '.join(wanted)}; the installed one was "
            f"built without {' and '.join(missing)}: give 1",
            "tensor_parallel_size",
        )


@contextmanager
def _needing_peers() -> Iterator[None]:
    """What fails within fails because another rank does not do its part."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLostError(str(error).partition("\n")[0]) from None


def _gloo(store: dist.Store, rank: int, size: int) -> dist.Backend:
    options = dist.ProcessGroupGloo._Options()
    options._devices = [dist.ProcessGroupGloo.create_device(hostname=LOOPBACK)]
    options._timeout = _CONNECT_TIMEOUT
    with _needing_peers():
        backend = dist.ProcessGroupGloo(dist.PrefixStore("gloo", store), rank, size, options)
    backend._set_default_timeout(_TIMEOUT)
    return backend


def _nccl(store: dist.Store, rank: int, size: int) -> dist.Backend:
    """Of the current CUDA device. Ranks connect by their first exchange; a rank that is lost later ends the others."""
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = _DEVICE_TIMEOUT
    return dist.ProcessGroupNCCL(dist.PrefixStore("nccl", store), rank, size, options)
