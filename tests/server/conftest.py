"""One tiny model and one server for the tests that do not hurt it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.server import Server
from support.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def server(tiny_model: Path) -> Iterator[Server]:
    flags = ("--served-model-name", "tiny", "alias", "--max-model-len", "4096", "--enable-prompt-tokens-details")
    with Server(tiny_model, *flags) as running:
        yield running


@pytest.fixture
def http(server: Server) -> httpx.Client:
    return server.http
