"""Environment variables, typed, read when they are used: `from vllm import envs; envs.VLLM_CPU_KVCACHE_SPACE`."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vllm.exceptions import VLLMValidationError

if TYPE_CHECKING:
    VLLM_CPU_KVCACHE_SPACE: float | None  # GiB of each rank's KV cache; None, set as 0: chosen from what is free
    VLLM_CPU_ISA: str | None  # sse2, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16, amx; None: the best
    VLLM_CPU_OMP_THREADS_BIND: str  # CPUs of threads: auto, nobind, or a list such as 0-3,8; of several ranks with |
    VLLM_CPU_NUM_OF_RESERVED_CPU: int  # CPUs that "auto" leaves to others, of each rank's
    VLLM_DEVICE_KERNELS: str | None  # own kernels that a GPU runs: names with commas, all; None: what is proven
    VLLM_SERVER_DEV_MODE: bool  # 1: the server offers /sleep, /wake_up and /is_sleeping
    VLLM_API_KEY: str | None  # key that `vllm serve` asks for
    VLLM_LOGGING_LEVEL: str  # DEBUG, INFO, WARNING, ERROR, CRITICAL
    VLLM_LOGGING_PREFIX: str  # what every line of the log begins with
    VLLM_LOGGING_STREAM: str  # ext://sys.stderr or ext://sys.stdout
    VLLM_LOGGING_CONFIG_PATH: str | None  # JSON file with settings of Python's logging, in place of these
    VLLM_CONFIGURE_LOGGING: bool  # 0: logging is left as it is
    VLLM_MAX_N_SEQUENCES: int  # most answers that a request may ask for
    VLLM_LOG_STATS_INTERVAL: float  # seconds between the server's lines of statistics
    VLLM_HTTP_TIMEOUT_KEEP_ALIVE: int  # seconds that the server keeps an idle connection
    VLLM_PLUGINS: list[str] | None  # names with commas of the plugins that are loaded; None: all, empty: none


def _text(name: str, default: str | None = None) -> str | None:
    return os.environ.get(name) or default


def _number(name: str) -> float | None:
    """A number greater than 0; 0 is vLLM's way to say nothing."""
    given = os.environ.get(name)
    if not given:
        return None
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise VLLMValidationError(
            f"{name}={given!r} is not accepted: give a number greater than 0, or 0 to have it chosen", name
        )
    return value or None


def _count(name: str, default: int = 0) -> int:
    given = os.environ.get(name) or str(default)
    if not given.isdigit():
        raise VLLMValidationError(f"{name}={given!r} is not accepted: give a whole number from 0", name)
    return int(given)


def _names(name: str) -> list[str] | None:
    given = os.environ.get(name)
    return None if given is None else [each.strip() for each in given.split(",") if each.strip()]


def _choice(name: str, default: str, accepted: tuple[str, ...]) -> str:
    given = os.environ.get(name) or default
    matching = [each for each in accepted if each.lower() == given.lower()]
    if not matching:
        raise VLLMValidationError(f"{name}={given!r} is not accepted: give one of {', '.join(accepted)}", name)
    return matching[0]


_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_STREAMS = ("ext://sys.stderr", "ext://sys.stdout")

environment_variables: dict[str, Callable[[], Any]] = {
    "VLLM_CPU_KVCACHE_SPACE": lambda: _number("VLLM_CPU_KVCACHE_SPACE"),
    "VLLM_CPU_ISA": lambda: _text("VLLM_CPU_ISA"),
    "VLLM_CPU_OMP_THREADS_BIND": lambda: _text("VLLM_CPU_OMP_THREADS_BIND", "auto"),
    "VLLM_CPU_NUM_OF_RESERVED_CPU": lambda: _count("VLLM_CPU_NUM_OF_RESERVED_CPU"),
    "VLLM_DEVICE_KERNELS": lambda: os.environ.get("VLLM_DEVICE_KERNELS"),
    "VLLM_SERVER_DEV_MODE": lambda: _count("VLLM_SERVER_DEV_MODE") != 0,
    "VLLM_API_KEY": lambda: _text("VLLM_API_KEY"),
    "VLLM_LOGGING_LEVEL": lambda: _choice("VLLM_LOGGING_LEVEL", "INFO", _LEVELS),
    "VLLM_LOGGING_PREFIX": lambda: os.environ.get("VLLM_LOGGING_PREFIX", ""),
    "VLLM_LOGGING_STREAM": lambda: _choice("VLLM_LOGGING_STREAM", "ext://sys.stderr", _STREAMS),
    "VLLM_LOGGING_CONFIG_PATH": lambda: _text("VLLM_LOGGING_CONFIG_PATH"),
    "VLLM_CONFIGURE_LOGGING": lambda: _count("VLLM_CONFIGURE_LOGGING", 1) != 0,
    "VLLM_MAX_N_SEQUENCES": lambda: _count("VLLM_MAX_N_SEQUENCES", 16384),
    "VLLM_LOG_STATS_INTERVAL": lambda: _number("VLLM_LOG_STATS_INTERVAL") or 10.0,
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": lambda: _count("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", 5),
    "VLLM_PLUGINS": lambda: _names("VLLM_PLUGINS"),
}


def __getattr__(name: str) -> Any:
    if name in environment_variables:
        return environment_variables[name]()
    raise AttributeError(f"vllm.envs has no variable {name!r}; it has {', '.join(environment_variables)}")


def __dir__() -> list[str]:
    return sorted(environment_variables)
