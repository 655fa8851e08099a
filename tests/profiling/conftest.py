"""One tiny model, and an engine on it."""

from pathlib import Path

import pytest

from support.tiny_model import write_tiny_model
from vllm import LLM


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def llm(model_folder: Path) -> LLM:
    return LLM(str(model_folder), max_model_len=256, kv_cache_memory_bytes=16 << 20)
