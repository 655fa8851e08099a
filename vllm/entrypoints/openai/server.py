"""Runs the application: uvicorn with our signals, a line when ready, and an end when the engine is gone for good."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from vllm import envs
from vllm.entrypoints.openai.app import build_app
from vllm.entrypoints.openai.settings import ServerSettings
from vllm.entrypoints.openai.state import ServerState
from vllm.entrypoints.openai.stats_log import log_stats

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# For clients to take the error that ends their request.
_LAST_WORDS_SECONDS = 2.0


class HttpServer(uvicorn.Server):
    """The first signal lets running requests end; a second one, or the shutdown timeout, ends them with an error."""

    def __init__(self, config: uvicorn.Config, state: ServerState, on_ready: Callable[[], None]):
        super().__init__(config)
        self._state = state
        self._on_ready = on_ready
        self._hurry = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = asyncio.create_task(self._end_requests())
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for signum in _SIGNALS:
            loop.add_signal_handler(signum, self._stop)
        try:
            yield
        finally:
            for signum in _SIGNALS:
                loop.remove_signal_handler(signum)
                # What is left to do takes no time; interrupting it would only spoil the exit status.
                signal.signal(signum, signal.SIG_IGN)

    def give_up(self) -> None:
        """Ends soon, whatever clients do: there is no engine to answer them."""
        self._hurry.set()
        self.should_exit = True

    def _stop(self) -> None:
        if self.should_exit:
            self._hurry.set()
        self.should_exit = True

    async def _end_requests(self) -> None:
        """Waits for a reason to hurry, then fails the open requests; clients that do not read are left behind."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self._state.settings.shutdown_timeout)
        self._state.llm.shutdown()
        await asyncio.sleep(_LAST_WORDS_SECONDS)
        self.force_exit = True


async def serve(state: ServerState, bound: socket.socket, on_ready: Callable[[], None]) -> str | None:
    """Serves until a signal, or until the engine has died for good: then returns why.

    Raises OSError when another server has begun to listen at the bound address.
    """
    causes: list[str] = []
    server = HttpServer(_uvicorn_config(state), state, on_ready)

    def give_up(cause: str) -> None:
        causes.append(cause)
        server.give_up()

    state.llm.on_give_up = give_up
    await state.llm.attach()
    logging_task = None if state.settings.disable_log_stats else asyncio.create_task(log_stats(state))
    try:
        await server.serve(sockets=[bound])
    finally:
        if logging_task is not None:
            logging_task.cancel()
        state.llm.shutdown()
    return causes[0] if causes else None


def _uvicorn_config(state: ServerState) -> uvicorn.Config:
    settings: ServerSettings = state.settings
    return uvicorn.Config(
        build_app(state),
        log_level=settings.uvicorn_log_level,
        access_log=not settings.disable_uvicorn_access_log,
        ssl_keyfile=settings.ssl_keyfile,
        ssl_certfile=settings.ssl_certfile,
        ssl_ca_certs=settings.ssl_ca_certs,
        ssl_cert_reqs=settings.client_certificates,
        timeout_keep_alive=envs.VLLM_HTTP_TIMEOUT_KEEP_ALIVE,
        http="httptools",
        ws="none",
        lifespan="off",
    )
