"""Runs the application: uvicorn with our signals, a line when ready, and an end when the engine is gone for good."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from vllm.entrypoints.openai.app import build_app
from vllm.entrypoints.openai.settings import ServerSettings
from vllm.entrypoints.openai.state import ServerState
from vllm.entrypoints.openai.stats_log import log_stats

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HttpServer(uvicorn.Server):
    """The first signal lets running requests end, the second does not wait for them."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]):
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

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

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


async def serve(state: ServerState, bound: socket.socket, on_ready: Callable[[], None]) -> str | None:
    """Serves until a signal, or until the engine has died for good: then returns why.

    Raises OSError when another server has begun to listen at the bound address.
    """
    causes: list[str] = []
    server = HttpServer(_uvicorn_config(state), on_ready)

    def give_up(cause: str) -> None:
        causes.append(cause)
        server.should_exit = True

    state.llm.on_give_up = give_up
    await state.llm.attach()
    logging_task = asyncio.create_task(log_stats(state)) if not state.settings.disable_log_stats else None
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
        root_path=settings.root_path,
        ssl_keyfile=settings.ssl_keyfile,
        ssl_certfile=settings.ssl_certfile,
        ssl_ca_certs=settings.ssl_ca_certs,
        timeout_graceful_shutdown=settings.shutdown_timeout,
        http="httptools",
        ws="none",
        lifespan="off",
    )
