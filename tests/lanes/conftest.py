"""Tests that build or fetch for minutes: scripts/test_lanes runs them, scripts/test does not."""

import os
import shutil
from pathlib import Path

import pytest

import support.checkout  # noqa: F401
from support.checkout import ROOT
from tooling.building.repack import source_time
from tooling.layout import Layout
from tooling.planning.inputs import recipe_inputs
from tooling.planning.lanes import FOLDER, SHARED_PINS

SWITCH = "VLLM_TEST_LANES"


@pytest.fixture(scope="session")
def layout() -> Layout:
    """The layout of the run that built the lanes."""
    home = os.environ.get(SWITCH)
    if not home:
        pytest.skip("takes minutes: scripts/test_lanes runs it")
    default = Layout.from_environment()
    return Layout(root=ROOT, home=Path(home), cache=default.cache)


@pytest.fixture
def checkout(layout, monkeypatch):
    """Makes a checkout in a folder with what the vllm recipe is made of, of the same age as this one."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(source_time(ROOT)))

    def make(folder: Path) -> Layout:
        for path in [*recipe_inputs(ROOT, "vllm"), SHARED_PINS, FOLDER, ".gitignore"]:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / path).is_dir():
                shutil.copytree(ROOT / path, target, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
            else:
                shutil.copy(ROOT / path, target)
        return Layout(root=folder, home=folder / "out", cache=layout.cache)

    return make
