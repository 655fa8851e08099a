"""One package on several Pythons: the same file is installed and generates text on each."""

import json
import subprocess

import pytest

from support.checkout import ROOT
from support.installed import channel_of, record
from tooling import channels
from tooling.errors import UserError
from tooling.installing import environments
from tooling.installing.activation import variables
from tooling.layout import Layout
from tooling.progress import Progress


def installed(layout: Layout, python: str, tmp_path):
    """An environment with vllm and that Python; skips where the channel has no such Python or no torch for it."""
    progress = Progress()
    base = channels.base_channel(layout, progress, [f"python_abi {python}.*"])
    scratch = Layout(root=layout.root, home=tmp_path, cache=layout.cache)
    specs = ["vllm", f"python {python}.*"]
    try:
        return environments.install(scratch, "python", python, [channel_of("vllm"), base], specs, progress)
    except UserError as error:
        pytest.skip(f"no Python {python} here: {error}")


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_the_same_file_runs_on(layout, tmp_path, python):
    prefix = installed(layout, python, tmp_path)
    run = {"env": variables(prefix), "cwd": tmp_path, "capture_output": True, "text": True}
    found = subprocess.run([prefix / "bin/python", "-c", "import sys; print(sys.version)"], **run)
    assert found.stdout.startswith(f"{python}.")
    (meta,) = [json.loads(file.read_text()) for file in (prefix / "conda-meta").glob("vllm-[0-9]*.json")]
    assert meta["sha256"] == record("vllm")["sha256"]
    for command in (["vllm", "--version"], ["python", ROOT / "recipes/vllm/test_generate.py"]):
        done = subprocess.run([prefix / "bin" / command[0], *command[1:]], **run)
        assert done.returncode == 0, done.stderr
    assert "generated:" in done.stdout
