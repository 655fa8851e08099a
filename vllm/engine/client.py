"""The client's side of the engine's core process: talking to it, and starting it again when it dies."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence

from vllm.config import VllmConfig
from vllm.engine import wire
from vllm.engine.core_child import CoreProcess
from vllm.engine.wire import Kind
from vllm.exceptions import EngineDeadError, ModelError, VLLMValidationError
from vllm.messages import EngineRequest

logger = logging.getLogger("vllm.engine")

# A core that dies before it has served this long died quickly.
QUICK_DEATH_SECONDS = 60.0
MAX_QUICK_DEATHS = 3


class CoreClient(asyncio.Protocol):
    """Talks to a core process from an event loop, and keeps one alive.

    `on_step(wire.Step)` and `on_rejected(wire.Rejected)` are called for what comes; `on_death(cause)` when the core
    has died and what it was doing is lost. A new core is then started, unless `MAX_QUICK_DEATHS` of them died within
    `QUICK_DEATH_SECONDS` of being ready: then `on_give_up(cause)` is called and `is_dead` stays set.
    """

    def __init__(
        self,
        config: VllmConfig,
        core: CoreProcess,
        *,
        on_step: Callable[[wire.Step], None],
        on_rejected: Callable[[wire.Rejected], None],
        on_death: Callable[[str], None],
        on_give_up: Callable[[str], None],
    ):
        self._config = config
        self._on_step = on_step
        self._on_rejected = on_rejected
        self._on_death = on_death
        self._on_give_up = on_give_up
        self._core = core
        self._transport: asyncio.Transport | None = None
        self._splitter = wire.FrameSplitter()
        self._failure: str | None = None  # what the core said before it ended
        self._replies: dict[int, asyncio.Future] = {}
        self._next_call = 0
        self._quick_deaths = 0
        self._supervisor: asyncio.Task | None = None
        self._closed = False
        self.cause: str | None = "the engine is loading the model"  # why there is no core now; None: there is one
        self.is_dead = False  # and there will be none again

    @property
    def core_pid(self) -> int:
        return self._core.pid

    def wait_ready(self) -> wire.Ready:
        """Blocks until the first core has loaded the model; raises as CoreProcess.wait_ready."""
        try:
            ready = self._core.wait_ready()
            self.cause = None
            return ready
        except (ModelError, EngineDeadError) as error:
            self.cause, self.is_dead = str(error), True
            raise

    async def attach(self) -> None:
        """Starts listening to the core, which must be ready, in the running event loop."""
        loop = asyncio.get_running_loop()
        self._splitter = wire.FrameSplitter()
        self._failure = None
        self._core.connection.setblocking(False)
        self._transport, _ = await loop.create_connection(lambda: self, sock=self._core.connection)
        self.cause = None

    def add(self, requests: list[EngineRequest]) -> None:
        """Submits sequences of one prompt. Raises EngineDeadError with the cause while there is no core."""
        self._send(Kind.ADD, wire.Add.of(requests))

    def abort(self, request_ids: Sequence[str]) -> None:
        """Drops sequences; nothing to do when the core, and so the sequences, are gone."""
        if self.cause is None and request_ids:
            self._send(Kind.ABORT, list(request_ids))

    async def call(self, method: str, argument: bool | int | list[str] | None = None) -> bool:
        """Runs a method of the core between two steps and returns its answer, or raises VLLMValidationError."""
        self._next_call += 1
        self._send(Kind.CALL, wire.Call(self._next_call, method, argument))
        reply = self._replies[self._next_call] = asyncio.get_running_loop().create_future()
        return await reply

    def close(self) -> None:
        """Ends the core process; nothing can be asked any more."""
        self._closed = True
        self.is_dead, self.cause = True, "the engine was shut down"
        with contextlib.suppress(RuntimeError):  # their event loop is closed
            if self._supervisor is not None:
                self._supervisor.cancel()
            if self._transport is not None:
                self._transport.abort()
        self._core.close()

    def _send(self, kind: Kind, payload: object) -> None:
        if self.cause is not None:
            raise EngineDeadError(self.cause)
        self._transport.write(wire.pack(kind, payload))

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        for kind, payload in self._splitter.feed(data):
            if kind == Kind.STEP:
                self._on_step(payload)
            elif kind == Kind.REJECTED:
                self._on_rejected(payload)
            elif kind == Kind.REPLY:
                reply = self._replies.pop(payload.id)
                if reply.cancelled():
                    continue
                if payload.refused is None:
                    reply.set_result(payload.value)
                else:
                    reply.set_exception(VLLMValidationError(payload.refused))
            elif kind == Kind.FAILED:
                self._failure = payload.message

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closed:
            self.cause = "the engine process ended; it is being started again"  # how it ended is known in a moment
            self._supervisor = asyncio.get_running_loop().create_task(self._replace())

    # Restarting

    async def _replace(self) -> None:
        """Reports the death and starts cores until one is ready or too many have died."""
        exit_status = await asyncio.to_thread(self._core.describe_exit)
        cause = f"the engine process failed: {self._failure}" if self._failure else exit_status
        ready_at = self._core.ready_at
        while True:
            self._report_death(cause)
            if self._give_up(cause, ready_at):
                return
            # None at first; then 1, 2, ... seconds: what killed it may need time to pass.
            await asyncio.sleep(2 ** (self._quick_deaths - 2) if self._quick_deaths > 1 else 0)
            self._core.connection.close()
            ready_at = None
            try:
                self._core = CoreProcess(self._config)
                await asyncio.to_thread(self._core.wait_ready)
            except (ModelError, EngineDeadError) as error:
                cause = str(error)
                continue
            except OSError as error:
                cause = f"the engine process cannot be started: {error}"
                continue
            await self.attach()
            logger.info("the engine is ready again")
            return

    def _report_death(self, cause: str) -> None:
        logger.error("%s", cause)
        self.cause = f"{cause}; it is being started again"
        for reply in self._replies.values():
            if not reply.done():  # nobody waits for one that was cancelled
                reply.set_exception(EngineDeadError(cause))
        self._replies.clear()
        self._on_death(cause)

    def _give_up(self, cause: str, ready_at: float | None) -> bool:
        is_quick = ready_at is None or time.monotonic() - ready_at < QUICK_DEATH_SECONDS
        self._quick_deaths = self._quick_deaths + 1 if is_quick else 0
        if self._quick_deaths < MAX_QUICK_DEATHS:
            return False
        self.cause, self.is_dead = cause, True
        self._on_give_up(cause)
        return True
