"""The cpu lane built twice, in two folders whose names differ in length, is the same file."""

import hashlib
import shutil

import pytest

from support.checkout import ROOT
from tooling import builder, channels
from tooling.inputs import recipe_inputs
from tooling.lanes import FOLDER, SHARED_PINS, default_lane
from tooling.layout import Layout
from tooling.progress import Progress
from tooling.repack import source_time


def copy_of(layout: Layout, folder) -> Layout:
    """A checkout in `folder` with what the vllm recipe is made of."""
    for path in [*recipe_inputs(ROOT, "vllm"), SHARED_PINS, FOLDER, ".gitignore"]:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, target, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / path, target)
    return Layout(root=folder, home=folder / "out", cache=layout.cache)


@pytest.fixture
def epoch(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(source_time(ROOT)))


def test_two_builds_in_two_folders_are_the_same_bytes(layout, tmp_path, epoch):
    digests = {}
    for copy in [copy_of(layout, tmp_path / name) for name in ("one", "another-folder")]:
        progress = Progress(copy.new_log("test"))
        job = builder.Job("vllm", default_lane(ROOT), channels.base_channel(copy, progress))
        for package in builder.build(copy, job, progress):
            digests.setdefault(package.name, set()).add(hashlib.sha256(package.read_bytes()).hexdigest())
    assert digests and all(len(found) == 1 for found in digests.values()), digests
