"""The listening socket, bound before the model is loaded, so that a port in use is known at once."""

import errno
import os
import socket
import stat

from vllm.exceptions import VLLMValidationError


def bind(host: str, port: int, uds: str | None) -> socket.socket:
    """A bound socket that does not listen yet. Raises VLLMValidationError saying what to change."""
    return _bind_unix(uds) if uds is not None else _bind_tcp(host, port)


def address_of(bound: socket.socket, *, tls: bool = False) -> str:
    """Where a browser on this machine finds the server: a URL, or unix:PATH."""
    if bound.family == socket.AF_UNIX:
        return f"unix:{bound.getsockname()}"
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host) or (f"[{host}]" if ":" in host else host)
    return f"{'https' if tls else 'http'}://{shown}:{port}"


def _bind_tcp(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise VLLMValidationError(f"--host {host}: {reason}; give an address of this machine", "host") from None
    bound = socket.socket(family, kind, protocol)
    if port != 0:
        # Connections of a server that just ended must not keep its port from the next.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise VLLMValidationError(describe_bind_error(host, port, error), "port") from None
    return bound


def describe_bind_error(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what listens there, or give another --port (0 picks a free one)"
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges: give a --port from 1024"
    return f"cannot listen on {host} port {port}: {error.strerror}; give an address of this machine as --host"


def _bind_unix(path: str) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        bound.bind(path)
    except OSError as error:
        bound.close()
        reason = error.strerror or str(error)
        raise VLLMValidationError(f"--uds {path}: {reason}; give the path of a socket to make", "uds") from None
    return bound


def _remove_stale(path: str) -> None:
    """Removes the socket of a server that has ended; one that answers, and any other file, is left alone."""
    if not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
        return  # bind says what is wrong, if anything is
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
