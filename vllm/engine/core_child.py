"""Starting the engine's core process and knowing how it ended."""

import contextlib
import pickle
import signal
import socket
import subprocess
import sys
import time

from vllm.config import VllmConfig
from vllm.engine import wire
from vllm.engine.wire import Kind
from vllm.exceptions import EngineDeadError, ModelError

_EXIT_WAIT_SECONDS = 5.0


class CoreProcess:
    """One life of the core: a child process and the socket to it."""

    def __init__(self, config: VllmConfig):
        self.connection, theirs = wire.socket_pair()
        # The child imports what this process would import, wherever it was started from.
        bootstrap = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from vllm.engine.core_process import main; main({theirs.fileno()})"
        )
        # A session of its own: an interrupt typed at the terminal reaches the client only.
        self._process = subprocess.Popen(
            [sys.executable, "-c", bootstrap],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
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
        """How the process ended; waits for it, and kills it if it lingers after closing its socket."""
        try:
            status = self._process.wait(_EXIT_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return "the engine process closed its connection and was stopped"
        if status == -signal.SIGKILL:
            return "the engine process was killed (SIGKILL; where memory is short, by the system)"
        if status < 0:
            return f"the engine process was ended by {signal.Signals(-status).name}"
        return f"the engine process ended with status {status}"

    def close(self) -> None:
        """Ends the process: it exits when its socket closes."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)  # also wakes a thread that waits in wait_ready
        self.connection.close()
        try:
            self._process.wait(_EXIT_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
