"""Upstream's name for loggers; vllm.log sets logging up where this package starts a program."""

import functools
import logging
from collections.abc import Hashable

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def init_logger(name: str) -> logging.Logger:
    """A logger that also has debug_once(), info_once(), warning_once() and error_once()."""
    logger = logging.getLogger(name)
    for word, level in _LEVELS.items():
        setattr(logger, f"{word}_once", functools.partial(_once, logger, level))
    return logger


def _once(logger: logging.Logger, level: int, message: str, *arguments: Hashable, scope: str = "local") -> None:
    """Logs what this process has not logged yet; there is no other `scope`."""
    _first_time(logger, level, message, *arguments)


@functools.cache
def _first_time(logger: logging.Logger, level: int, message: str, *arguments: Hashable) -> None:
    logger.log(level, message, *arguments, stacklevel=3)  # where _once was called
