"""What is fetched of a model on Hugging Face: what serving it needs, and nothing large besides."""

import gc
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from support.hub import COMMIT, NAME, hub
from support.models import save_tokenizer
from vllm.model_path import resolve_model

CONFIG = {"architectures": ["LlamaForCausalLM"], "vocab_size": 320, "max_position_embeddings": 512}
INDEX = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
SETTINGS = {"additional_chat_templates/tool_use.jinja", "config.json", "tokenizer.json", "tokenizer_config.json"}
SHARDS = {"model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"}
# Fetches what its arguments ask for, and says where the tokenizer is, or what was refused.
PROGRAM = """
import json, sys
from vllm import EngineArgs
from vllm.exceptions import ModelError
try:
    print(EngineArgs(**json.loads(sys.argv[1])).create_engine_config().model_config.tokenizer_folder)
except ModelError as error:
    print(error)
"""


@pytest.fixture
def files(tmp_path):
    save_tokenizer(tmp_path / "tokenizer")
    tokenizer = {path.name: path.read_bytes() for path in (tmp_path / "tokenizer").iterdir()}
    others = ("additional_chat_templates/tool_use.jinja", "original/params.json", "original/consolidated.safetensors")
    return tokenizer | dict.fromkeys(others, b"{}") | {"config.json": json.dumps(CONFIG).encode()}


def fetched(files, cache: Path, offline: bool = False, **arguments) -> tuple[str, set[str]]:
    """What the program says, and what is in the cache then."""
    with hub(files) as address:
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(cache / "home"), "NO_PROXY": "127.0.0.1"}
        environment["HF_HUB_OFFLINE"] = str(int(offline))
        arguments = {"download_dir": str(cache), **arguments}
        command = [sys.executable, "-c", PROGRAM, json.dumps(arguments)]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    (folder,) = cache.glob("models--*/snapshots/*")
    return said, {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_shards_of_the_index(files, tmp_path):
    shards = {"model.safetensors.index.json": json.dumps(INDEX).encode(), "model-1.safetensors": b"1"}
    others = dict.fromkeys(("model-2.safetensors", "consolidated.safetensors", "pytorch_model.bin"), b"2")
    _, names = fetched(files | shards | others, tmp_path, model=NAME)
    assert names == SETTINGS | SHARDS
    said, _ = fetched({}, tmp_path, offline=True, model=NAME)
    assert "snapshots" in said


class Caller:
    def __init__(self, cache: Path):
        self.folder = resolve_model(NAME, download_dir=str(cache))


def test_callers_can_be_freed_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cached = tmp_path / f"models--{NAME.replace('/', '--')}"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    (cached / "snapshots" / COMMIT).mkdir(parents=True)
    gc.disable()
    try:
        caller = Caller(tmp_path)
        assert caller.folder.name == COMMIT
        gone = weakref.ref(caller)
        del caller
        assert gone() is None
    finally:
        gc.enable()


def test_weights_without_an_index(files, tmp_path):
    weights = ("model.safetensors", "consolidated.safetensors", "checkpoint-10/model.safetensors")
    _, names = fetched(files | dict.fromkeys(weights, b"1"), tmp_path, model=NAME)
    assert names == SETTINGS | {"model.safetensors"}


@pytest.mark.parametrize("arguments", [{"tokenizer": NAME}, {"model": NAME, "load_format": "dummy"}])
def test_no_weights_where_none_are_read(files, tmp_path, arguments):
    local = tmp_path / "local"
    local.mkdir()
    (local / "config.json").write_text(json.dumps(CONFIG))
    arguments = {"model": str(local), **arguments}
    said, names = fetched(files | {"model.safetensors": b"1"}, tmp_path / "cache", **arguments)
    assert names == SETTINGS and "snapshots" in said


def test_no_weights_of_a_model_that_is_refused(files, tmp_path):
    files |= {"config.json": b'{"architectures": ["NewForCausalLM"]}', "model.safetensors": b"1"}
    said, names = fetched(files, tmp_path, model=NAME)
    assert names == SETTINGS and said.startswith("Model architectures ['NewForCausalLM'] are not supported for now: ")


def test_pickled_weights_are_named_and_not_fetched(files, tmp_path):
    said, names = fetched(files | {"pytorch_model.bin": b"1"}, tmp_path, model=NAME)
    assert names == SETTINGS
    expected = "has no *.safetensors file; it has pytorch_model.bin, which can run code and is not read: convert it"
    assert said == f"model '{NAME}' {expected}"
