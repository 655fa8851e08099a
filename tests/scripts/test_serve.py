"""scripts/serve and scripts/run: what they pass on, and that nothing is done when nothing has changed."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from support.checkout import ROOT
from tooling import serving
from tooling.commands.serve import serve_command
from tooling.installing import environments
from tooling.layout import Layout

DEMO = ["vllm", "serve", "vllm-demo-model"]
LOCAL = ["--host", "127.0.0.1"]


@pytest.mark.parametrize(
    ("given", "run"),
    [
        ([], [*DEMO, *LOCAL]),
        (["--port", "9000"], [*DEMO, "--port", "9000", *LOCAL]),
        (["--host", "0.0.0.0"], [*DEMO, "--host", "0.0.0.0"]),
        (["--host=::"], [*DEMO, "--host=::"]),
        (["some/folder"], ["vllm", "serve", "some/folder", *LOCAL]),
        (["name", "--max-model-len", "128"], ["vllm", "serve", "name", "--max-model-len", "128", *LOCAL]),
        (["--model", "name"], ["vllm", "serve", "--model", "name", *LOCAL]),
        (["--config=file.yaml"], ["vllm", "serve", "--config=file.yaml"]),
    ],
)
def test_arguments_are_passed_on(given, run):
    assert serve_command(given) == run


REPORT = """\
#!{python}
import json, os, sys
names = ("CONDA_PREFIX", "PATH", "PYTHONPATH", "PYTHONSAFEPATH", "ACTIVATED")
print(json.dumps(dict(arguments=sys.argv, cwd=os.getcwd(), **{{name: os.environ.get(name) for name in names}})))
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A build folder with the tool environment and a serving environment whose `vllm` reports how it was called."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("VLLM_RECIPES_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", "/must/not/be/passed/on")
    make_tools(home / "tools")
    layout = Layout.from_environment(ROOT)
    prefix = layout.environments / f"serve-{serving.key(layout)}"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "vllm").write_text(REPORT.format(python=sys.executable))
    (prefix / "bin" / "vllm").chmod(0o755)
    environments.finish(layout, "serve", prefix)
    return home


def make_tools(folder):
    """A tool environment that uses this Python's packages."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "bin" / "python").chmod(0o755)
    shutil.copy(ROOT / "requirements/tools.txt", folder / "requirements.txt")


def call(script, *arguments, cwd):
    done = subprocess.run([ROOT / "scripts" / script, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_serve_runs_in_the_installed_environment(home, tmp_path):
    done = call("serve", "model", "--port", "0", cwd=tmp_path)
    report = json.loads(done.stdout)
    prefix = os.path.realpath(home / "envs" / "serve")
    assert report["arguments"] == [f"{prefix}/bin/vllm", "serve", "model", "--port", "0", *LOCAL]
    assert report["cwd"] == str(tmp_path), "relative model folders are relative to where the user is"
    assert report["CONDA_PREFIX"] == prefix
    assert report["PATH"].startswith(f"{prefix}/bin:")
    assert report["PYTHONPATH"] is None
    assert done.stderr == "", "an unchanged environment is used without a word"


def test_the_checkout_does_not_shadow_the_installed_package(home):
    assert json.loads(call("run", "vllm", cwd=ROOT).stdout)["PYTHONSAFEPATH"] == "1"


def test_activation_scripts_are_sourced(home, tmp_path):
    folder = home / "envs" / "serve" / "etc" / "conda" / "activate.d"
    folder.mkdir(parents=True)
    (folder / "some.sh").write_text('export ACTIVATED="$CONDA_PREFIX"\n')
    report = json.loads(call("run", "vllm", "two words", cwd=tmp_path).stdout)
    assert report["ACTIVATED"] == report["CONDA_PREFIX"]
    assert report["arguments"][1:] == ["two words"]


def test_run_without_a_command_or_with_an_unknown_one(home, tmp_path):
    for arguments, message in [((), "no command given"), (("no-such-program",), "no-such-program: no such command")]:
        done = subprocess.run([ROOT / "scripts/run", *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2
        assert message in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("script", ["serve", "run"])
def test_dry_run_prints_every_step_and_does_nothing(home, tmp_path, script):
    shutil.rmtree(home / "envs")
    arguments = ["model", "--port", "1"] if script == "serve" else ["vllm", "--version"]
    lines = call(script, "--dry-run", *arguments, cwd=tmp_path).stdout.splitlines()
    steps = [line.partition(":")[0] for line in lines]
    assert steps == ["channel", "build", "build", "publish", "install", "run"]
    assert " ".join(arguments) in lines[-1]
    assert not (home / "envs").exists() and not (home / "channel").exists()


def test_dry_run_of_an_unchanged_environment(home, tmp_path):
    output = call("serve", "--dry-run", cwd=tmp_path).stdout.splitlines()
    assert output[0].startswith("use the environment") and output[1] == f"run: {' '.join([*DEMO, *LOCAL])}"
