"""Offers a folder over HTTP, as any static file server would."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *request) -> None:
        """A client that goes away is nobody's error, and what a test reads may hold no word of it."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*request)


def serving(folder: Path) -> AbstractContextManager[str]:
    """The address of `folder` while the block runs."""
    return answering(partial(_Quiet, directory=str(folder)))


@contextmanager
def answering(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address at which `handler` answers while the block runs."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
