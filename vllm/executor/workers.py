"""Ranks 1 to N - 1 as rank 0 sees them: processes that do what it says and end with it. No torch before `join`."""

import socket
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import send_handle
from typing import TYPE_CHECKING, Any

from vllm.config import VllmConfig
from vllm.distributed.child_process import ChildProcess
from vllm.exceptions import EngineDeadError, ModelError
from vllm.interrupts import interrupts_deferred

if TYPE_CHECKING:
    from vllm.distributed.group import Group

# A rank that ends because it lost another one has this status: it is not the cause.
LOST_A_PEER = 3
# How long to look for the cause once an exchange has failed.
_CAUSE_SECONDS = 5.0


class Workers:
    """A process for each rank but the first, with the same configuration."""

    def __init__(self, config: VllmConfig):
        """Starts them; they load torch while this process does."""
        self.size = config.parallel_config.tensor_parallel_size
        self._device_type = config.device_config.device
        self._workers = [_Worker(config, rank) for rank in range(1, self.size)]
        self._end = weakref.finalize(self, _end, self._workers)
        self._cause: str | None = None  # why they are gone

    def join(self) -> "Group":
        """Brings all ranks together. To be called within `together`."""
        from vllm.distributed import shared_memory
        from vllm.distributed.group import LOOPBACK, ProcessGroup, require_backends

        require_backends(self._device_type)
        from torch.distributed import TCPStore

        listener = socket.create_server((LOOPBACK, 0))  # by itself it listens on every address
        port = listener.getsockname()[1]
        store = TCPStore(LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
        for worker in self._workers:
            worker.wait_ready()
        shared = shared_memory.create(self.size) if self._device_type == "cpu" else None
        for worker in self._workers:
            worker.connection.send((store.port, shared is not None))
            if shared is not None:
                send_handle(worker.connection, shared, worker.process.pid)
        return ProcessGroup(store, 0, self.size, self._device_type, shared)

    def call(self, method: str, *arguments: Any) -> None:
        """Has every worker do this after what it was told before; what comes of it stays there."""
        self._send((method, arguments))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around what all ranks do at the same time. EngineDeadError or ModelError with the cause where one is lost.

        Whatever else ends the block early leaves the ranks at different places, so the workers are ended, too.
        """
        from vllm.distributed.group import PeerLostError

        if self._cause is not None:
            raise EngineDeadError(self._cause)
        try:
            yield
        except BaseException as error:
            if not isinstance(error, PeerLostError | EOFError | OSError):
                self._give_up(f"the engine was stopped by {type(error).__name__}; start it again")
                raise
            failure = _first_failure(self._workers) or EngineDeadError(f"a rank was lost: {error}")
            self._give_up(str(failure))
            raise failure from None

    @contextmanager
    def step(self) -> Iterator[None]:
        """As `together`, to the end: an interrupt (Ctrl-C) that arrives within comes when all ranks are done."""
        with interrupts_deferred(), self.together():
            yield

    def close(self) -> None:
        """Ends the processes."""
        self._end()

    def _give_up(self, cause: str) -> None:
        self._cause = cause
        self.close()

    def _send(self, message: Any) -> None:
        for worker in self._workers:
            worker.connection.send(message)


class _Worker:
    """A process and the connection to it."""

    def __init__(self, config: VllmConfig, rank: int):
        ours, theirs = socket.socketpair()
        self.connection = Connection(ours.detach())
        self.process = ChildProcess("vllm.executor.worker_process", f"the process of rank {rank}", theirs)
        with suppress(OSError):  # it has ended already: whoever talks to it next learns why
            self.connection.send((config, rank))

    def wait_ready(self) -> None:
        """Blocks until it can join the others. Raises what it says instead, or EOFError where it has gone."""
        message = self.connection.recv()
        if message is not None:
            raise _error(*message)

    def failure(self) -> Exception | None:
        """Of a worker that ends: why. None where another rank is the cause."""
        try:
            return _error(*self.connection.recv())
        except (OSError, EOFError):
            how = self.process.describe_exit()
            return None if self.process.status == LOST_A_PEER else EngineDeadError(how)


def _error(message: str, is_usage_error: bool) -> Exception:
    return ModelError(message) if is_usage_error else EngineDeadError(message)


def _first_failure(workers: list[_Worker]) -> Exception | None:
    """What the first of the workers says that is a cause and no consequence."""
    waiting = {worker.connection: worker for worker in workers}
    deadline = time.monotonic() + _CAUSE_SECONDS
    while waiting and (ready := wait(list(waiting), max(deadline - time.monotonic(), 0))):
        for connection in ready:
            if failure := waiting.pop(connection).failure():
                return failure
    return None


def _end(workers: list[_Worker]) -> None:
    """Each ends when its connection does."""
    for worker in workers:
        worker.connection.close()
    for worker in workers:
        worker.process.wait()
