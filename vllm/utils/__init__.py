"""Upstream's helpers that programs import."""

import socket
import uuid

from vllm.utils.argparse_utils import FlexibleArgumentParser

__all__ = ["FlexibleArgumentParser", "get_open_port", "random_uuid"]


def random_uuid() -> str:
    """32 hexadecimal digits, for a request's id."""
    return uuid.uuid4().hex


def get_open_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.create_server(("", 0)) as listener:
        return listener.getsockname()[1]
