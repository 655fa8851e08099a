"""The engine's core in a process of its own: requests in, tokens out, over a socket that it inherits.

It lives as long as its client: when the socket reaches end of file the process ends at once, however the client died.
Interrupts and SIGTERM are left to the client, which lets running requests finish first.
"""

import os
import pickle
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING

from vllm.config import VllmConfig
from vllm.distributed import child_main
from vllm.engine import wire
from vllm.engine.wire import Kind
from vllm.exceptions import VLLMValidationError
from vllm.messages import EngineRequest
from vllm.plugins import load_general_plugins

if TYPE_CHECKING:
    from vllm.engine.core import EngineCore

EXIT_FAILED = 1
_CALLABLE = ("reset_prefix_cache", "sleep", "wake_up", "is_sleeping")


def main(descriptor: int) -> None:
    """Runs a core on the inherited socket `descriptor` until the client closes it."""
    started = time.monotonic()
    child_main.begin()
    connection = socket.socket(fileno=descriptor)
    frame = wire.read_frame(connection)
    if frame is None:
        return
    # Reads from the start: a client that goes away while the model loads is noticed, too.
    messages: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, messages), name="core-reader", daemon=True).start()
    try:
        core = _load(pickle.loads(frame[1]))
        ready = wire.Ready(time.monotonic() - started, core.stats().kv_cache_tokens)
        connection.sendall(wire.pack(Kind.READY, ready))
        CoreLoop(core, connection, messages).run()
    except Exception as error:
        _fail(connection, error)


def _read(connection: socket.socket, messages: queue.SimpleQueue) -> None:
    try:
        while (frame := wire.read_frame(connection)) is not None:
            messages.put(frame)
    except Exception as error:
        messages.put((Kind.FAILED, error))  # without its reader the core would hear nothing, not even its client's end
        return
    os._exit(0)


def _load(config: VllmConfig) -> "EngineCore":
    from vllm.engine.core import EngineCore

    load_general_plugins()
    return EngineCore(config, own_process=True)


def _fail(connection: socket.socket, error: Exception) -> None:
    """Tells the client why this process ends."""
    connection.sendall(wire.pack(Kind.FAILED, wire.Failed(*child_main.describe_failure(error))))
    os._exit(EXIT_FAILED)


class CoreLoop:
    """Steps the core while it has work, and takes the messages that came in between two steps."""

    def __init__(self, core: "EngineCore", connection: socket.socket, messages: queue.SimpleQueue):
        self._core = core
        self._connection = connection
        self._messages = messages

    def run(self) -> None:
        """Never returns: the reading thread ends the process."""
        while True:
            if self._core.has_unfinished():
                self._take_waiting_messages()
            else:
                self._wait_for_message()
            self._step()

    def _wait_for_message(self) -> None:
        self._handle(*self._messages.get())
        self._take_waiting_messages()

    def _take_waiting_messages(self) -> None:
        while not self._messages.empty():
            self._handle(*self._messages.get())

    def _step(self) -> None:
        outputs = self._core.step() if self._core.has_unfinished() else []
        self._send(Kind.STEP, wire.Step(outputs, self._core.stats()))

    def _handle(self, kind: int, payload) -> None:
        if kind == Kind.ADD:
            self._add(payload.complete())
        elif kind == Kind.ABORT:
            self._core.abort_requests(payload)
        elif kind == Kind.CALL:
            self._send(Kind.REPLY, self._call(payload))
        elif kind == Kind.FAILED:
            raise RuntimeError(f"a message to the engine cannot be read: {payload}")

    def _call(self, call: wire.Call) -> wire.Reply:
        assert call.method in _CALLABLE, call.method
        arguments = () if call.argument is None else (call.argument,)
        try:
            return wire.Reply(call.id, getattr(self._core, call.method)(*arguments))
        except VLLMValidationError as error:
            return wire.Reply(call.id, False, str(error))

    def _add(self, requests: list[EngineRequest]) -> None:
        for index, request in enumerate(requests):
            try:
                self._core.add_request(request)
            except VLLMValidationError as error:
                # The answers of one request stand or fall together.
                self._core.abort_requests([other.request_id for other in requests[:index]])
                self._send(Kind.REJECTED, wire.Rejected(request.request_id, str(error), error.parameter))
                return

    def _send(self, kind: Kind, payload: object) -> None:
        try:
            self._connection.sendall(wire.pack(kind, payload))
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)
