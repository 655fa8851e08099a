"""Makes scripts/ importable before a test module asks for the package of this folder's name."""

import threading
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import support.checkout  # noqa: F401


@dataclass
class Index:
    """A package index over HTTP: its folder, its address, and the paths that were asked for."""

    folder: Path
    address: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def index(tmp_path):
    served = Index(tmp_path / "www")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            served.asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served.folder)))
    served.address = f"http://127.0.0.1:{server.server_port}/simple"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()
