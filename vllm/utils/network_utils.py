"""Ports of this machine."""

import socket


def get_open_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.create_server(("", 0)) as listener:
        return listener.getsockname()[1]
