"""One tiny model and one server for the benchmarks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.server import Server
from support.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def server(tiny_model: Path) -> Iterator[Server]:
    with Server(tiny_model, "--served-model-name", "tiny", "--max-model-len", "512") as running:
        yield running
