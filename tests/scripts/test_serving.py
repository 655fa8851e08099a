"""The serving environment from recipe to prefix, on a toy checkout: once, by whoever comes first."""

import os
import subprocess
import sys

import pytest

from support.checkout import ROOT
from support.toy_checkout import make_checkout, make_empty_channel, write_recipe
from tooling import serving
from tooling.installing import environments
from tooling.layout import Layout

ENSURE = """
import sys
sys.path.insert(0, {scripts!r})
from pathlib import Path
from tooling import serving
from tooling.layout import Layout
serving.RECIPES = ("toy",)
root = Path({root!r})
print(serving.ensure(Layout(root=root, home=root / "build", cache=root / "cache"), "serve"))
"""


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    make_empty_channel(tmp_path / "base")
    monkeypatch.setenv("VLLM_RECIPES_CHANNEL", str(tmp_path / "base"))
    monkeypatch.setattr(serving, "RECIPES", ("toy",))
    return make_checkout(tmp_path / "checkout")


def start(layout):
    code = ENSURE.format(scripts=str(ROOT / "scripts"), root=str(layout.root))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_at_once_build_once_and_agree(layout):
    write_recipe(layout.root, script="sleep 1")
    runs = [process.communicate() for process in [start(layout), start(layout)]]
    (prefix,) = {output.strip() for output, _ in runs}
    assert prefix == os.path.realpath(layout.environments / "serve")
    built, waited = sorted((said for _, said in runs), key=lambda said: "Building toy" not in said)
    assert "Building toy" in built
    assert "Waiting for another run" in waited and "Building toy" not in waited


def test_an_unchanged_checkout_is_not_touched_again(layout):
    prefix = serving.ensure(layout, "serve")
    before = sorted((path, path.stat().st_mtime_ns) for path in layout.home.rglob("*"))
    assert serving.ensure(layout, "serve") == prefix
    assert sorted((path, path.stat().st_mtime_ns) for path in layout.home.rglob("*")) == before


def test_a_changed_source_makes_a_new_environment(layout):
    old = serving.ensure(layout, "serve")
    (layout.root / "data/text").write_text("second\n")
    new = serving.ensure(layout, "serve")
    assert new != old and (new / "share/toy").read_text() == "second\n"


def test_a_killed_installation_is_made_again(layout):
    prefix = serving.ensure(layout, "serve")
    (layout.environments / "serve").unlink()
    (prefix / "share/toy").unlink()
    assert (serving.ensure(layout, "serve") / "share/toy").exists()


def test_an_environment_that_moved_with_its_checkout_is_made_again(layout):
    """Its scripts start with the path that its Python had."""
    (serving.ensure(layout, "serve") / "share/installed-there").touch()
    moved = layout.root.rename(layout.root.with_name("moved"))
    new = serving.ensure(Layout(root=moved, home=moved / "build", cache=moved / "cache"), "serve")
    assert (new / "share/toy").exists() and not (new / "share/installed-there").exists()


def test_another_base_channel_makes_a_new_environment(layout, tmp_path, monkeypatch):
    old = serving.ensure(layout, "serve")
    make_empty_channel(tmp_path / "other")
    monkeypatch.setenv("VLLM_RECIPES_CHANNEL", str(tmp_path / "other"))
    assert serving.ensure(layout, "serve") != old


def test_an_overridden_virtual_package_changes_the_key(layout, monkeypatch):
    before = serving.key(layout)
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "13.0")
    assert serving.key(layout) != before


def test_plan_says_what_a_run_would_do(layout):
    assert [line.partition(":")[0] for line in serving.plan(layout)] == ["channel", "build", "publish", "install"]
    prefix = serving.ensure(layout, "serve")
    assert serving.plan(layout) == [f"use the environment {prefix} (nothing has changed)"]
    assert environments.current(layout, "serve", serving.key(layout)) == prefix
