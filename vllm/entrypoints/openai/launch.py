"""Starting `vllm serve`: what can be wrong is checked first, and the engine loads while this process imports."""

import contextlib
import os
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.engine.core_child import CoreProcess
from vllm.entrypoints.open_files import raise_open_file_limit
from vllm.entrypoints.openai.settings import ServerSettings
from vllm.entrypoints.openai.sockets import address_of, bind, describe_bind_error
from vllm.exceptions import EngineDeadError, ModelError, VLLMValidationError
from vllm.log import set_up_logging
from vllm.unread_environment import warn_of_unread_variables
from vllm.version import __version__

if TYPE_CHECKING:
    from vllm.entrypoints.openai.state import ServerState

EXIT_ENGINE_DEAD = 1
EXIT_INTERRUPTED = 130


def launch(engine_args: AsyncEngineArgs, settings: ServerSettings) -> int:
    """Serves until it is told to stop; returns the exit status.

    Raises VLLMValidationError for whatever of the configuration is at fault, before a model is loaded.
    """
    try:
        with _starting(engine_args, settings) as (state, bound):
            import uvloop

            state.llm.wait_ready()
            uvloop.run(_serve(state, bound))
    except EngineDeadError as error:
        print(f"vllm: error: {error}", file=sys.stderr)
        return EXIT_ENGINE_DEAD
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


async def run(engine_args: AsyncEngineArgs, settings: ServerSettings) -> None:
    """As launch, in the event loop of a program, whose signals end the server. EngineDeadError is raised."""
    import asyncio

    with _starting(engine_args, settings) as (state, bound):
        await asyncio.to_thread(state.llm.wait_ready)
        await _serve(state, bound)


@contextlib.contextmanager
def _starting(engine_args: AsyncEngineArgs, settings: ServerSettings) -> Iterator[tuple["ServerState", socket.socket]]:
    """The server's state, whose engine is loading, and the socket that it is to listen on."""
    set_up_logging()
    raise_open_file_limit()
    warn_of_unread_variables()
    _check_tls(settings)
    try:
        config = engine_args.create_engine_config()
    except ModelError as error:
        raise VLLMValidationError(str(error)) from None
    bound = bind(settings.host, settings.port, settings.uds)
    core = CoreProcess(config)
    try:
        yield _state(config, core, settings), bound
    except ModelError as error:
        raise VLLMValidationError(str(error)) from None
    finally:
        core.close()
        if settings.uds is not None:
            with contextlib.suppress(OSError):
                os.unlink(settings.uds)


def _state(config: VllmConfig, core: CoreProcess, settings: ServerSettings) -> "ServerState":
    # The engine process loads its libraries and the model in the meantime.
    from vllm.engine.async_llm import AsyncLLM
    from vllm.entrypoints.openai import server  # noqa: F401 (what serving needs is slow to import, too)
    from vllm.entrypoints.openai.state import ServerState

    return ServerState.build(AsyncLLM(config, core), settings)


async def _serve(state: "ServerState", bound: socket.socket) -> None:
    from vllm.entrypoints.openai.server import serve

    settings = state.settings
    address = address_of(bound, tls=settings.ssl_certfile is not None)
    try:
        cause = await serve(state, bound, on_ready=lambda: _announce(state, address))
    except OSError as error:
        raise VLLMValidationError(describe_bind_error(settings.host, settings.port, error)) from None
    if cause is not None:
        raise EngineDeadError(f"the engine died again and again, the last time because {cause}")


def _announce(state: "ServerState", address: str) -> None:
    """The line that says where the server is and how long it took from the process's beginning."""
    names = ", ".join(state.model_names)
    print(f"vllm {__version__} serves {names} at {address} (ready after {_process_age():.1f} s)", flush=True)


def _process_age() -> float:
    """Seconds since the kernel started this process: what a user waits for includes starting Python."""
    with open("/proc/self/stat") as file:
        # The fields after the command's name, which may hold anything, even brackets; the 20th is the start time.
        start_ticks = int(file.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")


def _check_tls(settings: ServerSettings) -> None:
    files = {
        "--ssl-keyfile": settings.ssl_keyfile,
        "--ssl-certfile": settings.ssl_certfile,
        "--ssl-ca-certs": settings.ssl_ca_certs,
    }
    for flag, path in files.items():
        if path is not None and not os.access(path, os.R_OK):
            raise VLLMValidationError(f"{flag} {path}: there is no such file, or it cannot be read")
    if settings.ssl_keyfile is not None and settings.ssl_certfile is None:
        raise VLLMValidationError("--ssl-keyfile needs --ssl-certfile, too")
    if settings.client_certificates != ssl.CERT_NONE and settings.ssl_ca_certs is None:
        raise VLLMValidationError("--ssl-cert-reqs needs --ssl-ca-certs, too")
    if settings.ssl_certfile is not None:
        _try_certificates(settings)


def _try_certificates(settings: ServerSettings) -> None:
    """Raises VLLMValidationError where the files are not what their flags say, or do not belong together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    flags = "--ssl-certfile and --ssl-keyfile"
    try:
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
        flags = "--ssl-ca-certs"
        if settings.ssl_ca_certs is not None:
            context.load_verify_locations(settings.ssl_ca_certs)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise VLLMValidationError(f"{flags}: {reason}; give PEM files that belong together") from None
