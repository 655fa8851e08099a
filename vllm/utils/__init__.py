"""Upstream's helpers that programs import."""

import uuid

from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.utils.network_utils import get_open_port

__all__ = ["FlexibleArgumentParser", "get_open_port", "random_uuid"]


def random_uuid() -> str:
    """32 hexadecimal digits, for a request's id."""
    return uuid.uuid4().hex
