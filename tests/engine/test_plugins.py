"""Plugins of installed packages: models of their own in every process, and what becomes of the others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.models import save_model, save_tokenizer
from vllm.models.registry import ModelRegistry
from vllm.plugins import load_general_plugins

MODULE = """
import os
from pathlib import Path
from vllm import ModelRegistry

def register():
    ModelRegistry.register_model("ToyForCausalLM", "vllm.models.llama:LlamaForCausalLM")
    (Path(__file__).parent / f"called-{os.getpid()}").touch(exist_ok=False)

def fail():
    raise RuntimeError("no such model")
"""
RANKS = """
import sys
from vllm import LLM, SamplingParams
llm = LLM(sys.argv[1], dtype="float32", max_model_len=64, tensor_parallel_size=2)
print(len(llm.generate("a", SamplingParams(max_tokens=2, ignore_eos=True), use_tqdm=False)[0].outputs[0].token_ids))
"""
CORE = """
import asyncio, sys
from vllm import AsyncEngineArgs, SamplingParams
from vllm.engine.async_llm import AsyncLLM

async def main():
    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(sys.argv[1], dtype="float32", max_model_len=64))
    async for output in llm.generate("a", SamplingParams(max_tokens=2, ignore_eos=True), "0"):
        pass
    print(len(output.outputs[0].token_ids))
    llm.shutdown()

asyncio.run(main())
"""


def install(folder: Path, entry_points: str) -> Path:
    (folder / "toy_plugin.py").write_text(MODULE)
    installed = folder / "toy-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(entry_points)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_model("llama", tmp_path_factory.mktemp("toy"))
    save_tokenizer(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["ToyForCausalLM"]}))
    return folder


@pytest.mark.parametrize("program", [RANKS, CORE], ids=["ranks", "core"])
def test_each_process_knows_a_plugins_model(model, tmp_path, program):
    site = install(tmp_path, "[vllm.general_plugins]\ntoy = toy_plugin:register\n")
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", program, str(model)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["2"], done.stderr
    assert len(list(site.glob("called-*"))) == 2


@pytest.fixture
def load(monkeypatch, tmp_path, caplog):
    """Loads plugins that these entry points name; gives the warnings."""

    def load(entry_points: str) -> list[str]:
        monkeypatch.syspath_prepend(install(tmp_path, entry_points))
        load_general_plugins.cache_clear()
        load_general_plugins()
        return [record.getMessage() for record in caplog.records]

    known = dict(ModelRegistry._known)
    yield load
    ModelRegistry._known = known
    sys.modules.pop("toy_plugin", None)
    load_general_plugins.cache_clear()


def test_a_plugin_that_fails_is_left_out(load):
    said = load("[vllm.general_plugins]\nbad = toy_plugin:fail\ngone = toy_plugin:gone\ntoy = toy_plugin:register\n")
    assert said[0] == "plugin bad (toy_plugin:fail) is left out: RuntimeError: no such model"
    assert said[1].startswith("plugin gone (toy_plugin:gone) is left out: AttributeError: ") and len(said) == 2
    assert "ToyForCausalLM" in ModelRegistry.get_supported_archs()


@pytest.mark.parametrize(("wanted", "expected"), [("toy, other", True), ("other", False), ("", False)])
def test_plugins_are_chosen_by_name(load, monkeypatch, wanted, expected):
    monkeypatch.setenv("VLLM_PLUGINS", wanted)
    assert load("[vllm.general_plugins]\ntoy = toy_plugin:register\n[vllm.platform_plugins]\nnpu = x:y\n") == []
    assert ("ToyForCausalLM" in ModelRegistry.get_supported_archs()) is expected


def test_plugins_of_kinds_that_are_not_offered_are_named(load):
    said = load("[vllm.logits_processors]\nb = x:y\na = x:y\n")
    assert said == ["plugins of vllm.logits_processors are not offered, and without effect: a, b"]
