"""Logging of the programs that this package starts: the server and the engine's process."""

import logging
import sys

from vllm import envs

# Libraries whose own chatter is of no use to who serves a model.
_QUIET = ("httpx", "httpcore", "urllib3", "filelock", "huggingface_hub")


def set_up_logging() -> None:
    """Sends records from VLLM_LOGGING_LEVEL on to stderr. Raises VLLMValidationError for a level that is none."""
    logging.basicConfig(
        level=envs.VLLM_LOGGING_LEVEL,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
