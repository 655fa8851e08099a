"""Starting the engine's core process and knowing how it ended."""

import contextlib
import pickle
import socket
import time

from vllm.config import VllmConfig
from vllm.distributed.child_process import ChildProcess
from vllm.engine import wire
from vllm.engine.wire import Kind
from vllm.exceptions import EngineDeadError, ModelError


class CoreProcess:
    """One life of the core: a child process and the socket to it. OSError where none can be started."""

    def __init__(self, config: VllmConfig):
        self.connection, theirs = wire.socket_pair()
        self._process = ChildProcess("vllm.engine.core_process", "the engine process", theirs)
        with contextlib.suppress(OSError):  # it has ended already: wait_ready says how
            self.connection.sendall(wire.pack(Kind.CONFIG, pickle.dumps(config)))
        self.ready_at: float | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> wire.Ready:
        """Blocks until the model is loaded.

        Raises:
            ModelError: the model or the configuration is at fault.
            EngineDeadError: the process ended for any other reason.
        """
        frame = wire.read_frame(self.connection)
        if frame is None:
            raise EngineDeadError(f"{self.describe_exit()} while it loaded the model")
        kind, payload = frame
        if kind == Kind.FAILED:
            raise (ModelError if payload.is_usage_error else EngineDeadError)(payload.message)
        self.ready_at = time.monotonic()
        return payload

    def describe_exit(self) -> str:
        """How the process ended; waits for it."""
        return self._process.describe_exit()

    def close(self) -> None:
        """Ends the process: it exits when its socket closes."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)  # also wakes a thread that waits in wait_ready
        self.connection.close()
        self._process.wait()
