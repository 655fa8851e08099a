"""Logging of the programs that this package starts: the server and the engine's process."""

import json
import logging
import logging.config
import sys
from typing import Any

from vllm import envs
from vllm.exceptions import VLLMValidationError
from vllm.logging_utils import NewLineFormatter

# Libraries whose own chatter is of no use to who serves a model.
_QUIET = ("httpx", "httpcore", "urllib3", "filelock", "huggingface_hub")


def set_up_logging() -> None:
    """As the VLLM_LOGGING_ variables say: by default, records from INFO on go to stderr.

    With VLLM_CONFIGURE_LOGGING=0 it does nothing, with VLLM_LOGGING_CONFIG_PATH what that file says. Raises
    VLLMValidationError for a variable or a file that cannot be followed.
    """
    path = envs.VLLM_LOGGING_CONFIG_PATH
    if not envs.VLLM_CONFIGURE_LOGGING:
        if path:
            raise _file_error(path, "VLLM_CONFIGURE_LOGGING=0 forbids what it says: leave out one of them")
        return
    if path:
        _follow(path)
        return
    handler = logging.StreamHandler(sys.stdout if envs.VLLM_LOGGING_STREAM == "ext://sys.stdout" else sys.stderr)
    handler.setFormatter(
        NewLineFormatter(
            envs.VLLM_LOGGING_PREFIX.replace("%", "%%") + "%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
    )
    logging.basicConfig(level=envs.VLLM_LOGGING_LEVEL, handlers=[handler])
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _follow(path: str) -> None:
    """Sets logging up as a JSON file in the form of logging.config.dictConfig says."""
    settings = _read_object(path)
    try:
        logging.config.dictConfig(settings)
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        raise _file_error(path, f"its settings are not accepted: {error.__cause__ or error}") from None


def _read_object(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise _file_error(path, error.strerror) from None
    except ValueError as error:
        raise _file_error(path, f"it is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise _file_error(path, f"give a JSON object, not a {type(content).__name__}")
    return content


def _file_error(path: str, reason: str | None) -> VLLMValidationError:
    return VLLMValidationError(f"VLLM_LOGGING_CONFIG_PATH={path}: {reason}", "VLLM_LOGGING_CONFIG_PATH")
