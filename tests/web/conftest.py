"""Servers for the page: a model that never ends its answers, and the demo model."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.browser import Page
from support.server import Server
from support.tiny_model import write_tiny_model

DEMO_MODEL = Path(sys.prefix) / "share/vllm/models/vllm-demo-model"
TEXT_TOKENS = (60, 61)  # two letters of the tiny model's vocabulary


@pytest.fixture(scope="session")
def endless_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose likeliest token is always one of two letters, so that only a limit ends an answer."""
    from safetensors.torch import load_file, save_file

    folder = write_tiny_model(tmp_path_factory.mktemp("models") / "endless")
    tensors = load_file(folder / "model.safetensors")
    head = tensors["lm_head.weight"]
    row = head[TEXT_TOKENS[0]].clone()
    head.zero_()
    # One of +x and -x is above zero, where all other tokens are.
    head[TEXT_TOKENS[0]], head[TEXT_TOKENS[1]] = row, -row
    save_file(tensors, folder / "model.safetensors")
    (folder / "generation_config.json").write_text('{"temperature": 0.0}')
    return folder


@pytest.fixture(scope="session")
def server(endless_model: Path) -> Iterator[Server]:
    with Server(endless_model, "--served-model-name", "endless") as running:
        yield running


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    with Page(server.url) as opened:
        yield opened


@pytest.fixture(scope="session")
def demo_server() -> Iterator[Server]:
    checkout = Path(__file__).parents[2] / "recipes/vllm-demo-model/model"
    with Server(DEMO_MODEL if DEMO_MODEL.is_dir() else checkout, "--served-model-name", "vllm-demo-model") as running:
        yield running
