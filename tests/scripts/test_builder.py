"""Builds of a toy recipe: what is published, what is built again, and how failures are told."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import pytest

from support.checkout import ROOT
from support.processes import ends, is_running
from support.toy_checkout import make_checkout, make_empty_channel, write_recipe
from tooling import checks
from tooling.building import builder
from tooling.building.repack import EARLIEST, LATEST, make_reproducible, source_time
from tooling.errors import UserError
from tooling.planning.lanes import READ_BY_RECIPES
from tooling.progress import Progress


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    return make_checkout(tmp_path / "checkout")


@pytest.fixture
def job(tmp_path):
    return builder.Job("toy", "cpu", make_empty_channel(tmp_path / "base"))


@pytest.fixture
def progress(layout):
    return Progress(layout.new_log("test"))


def published(layout):
    return [file.name for file in layout.channel.glob("*/*.conda")]


def test_build_publishes_an_indexed_package(layout, job, progress):
    (package,) = builder.build(layout, job, progress)
    assert package.name.startswith("toy-1.0-cpu_h")
    assert package.name in (layout.channel / package.parent.name / "repodata.json").read_text()
    assert not layout.work.exists()


def test_unchanged_inputs_are_not_built_again(layout, job, progress):
    builder.build(layout, job, progress)
    assert builder.is_published(layout, job)
    (layout.root / "README.md").write_text("not selected by the recipe's source filter")
    assert builder.is_published(layout, job)


@pytest.mark.parametrize(
    "changed", ["data/text", "data/untracked", "recipe-variants/cpu.yaml", "recipes/toy/recipe.yaml"]
)
def test_changed_inputs_are_built_again(layout, job, progress, changed):
    builder.build(layout, job, progress)
    with (layout.root / changed).open("a") as file:
        file.write("# changed\n")
    assert not builder.is_published(layout, job)


@pytest.mark.parametrize("variable", READ_BY_RECIPES)
def test_what_the_environment_chooses_is_built_again(layout, job, progress, monkeypatch, variable):
    builder.build(layout, job, progress)
    monkeypatch.setenv(variable, "1")
    assert not builder.is_published(layout, job)


def test_every_variable_that_the_recipe_reads_counts_or_changes_no_package():
    read = set(re.findall(r'env\.get\("(\w+)"', (ROOT / "recipes/vllm/recipe.yaml").read_text()))
    assert read - {"MAX_JOBS", "SCCACHE_SERVER_UDS"} == set(READ_BY_RECIPES)


def test_another_base_channel_is_built_again(layout, job, progress, tmp_path):
    builder.build(layout, job, progress)
    other = builder.Job(job.recipe, job.lane, make_empty_channel(tmp_path / "other"))
    assert not builder.is_published(layout, other)


def test_missing_package_file_is_built_again(layout, job, progress):
    (package,) = builder.build(layout, job, progress)
    package.unlink()
    assert not builder.is_published(layout, job)


def test_a_build_is_recorded_with_its_sizes_and_time(layout, job, progress):
    (package,) = builder.build(layout, job, progress)
    record = builder.last_build(layout, "toy", "cpu")
    assert record["sizes"] == {f"{package.parent.name}/{package.name}": package.stat().st_size}
    assert record["seconds"] > 0 and record["tested"]


def test_a_package_for_another_machine_is_built_but_not_run(layout, job, progress):
    (layout.root / "recipe-variants/cpu-s390x.yaml").write_text("target_platform: [linux-s390x]\n")
    write_recipe(layout.root, test="'echo \"error: does not run\"; false'")
    (package,) = builder.build(layout, builder.Job("toy", "cpu-s390x", job.base), progress)
    assert package.parent.name == "linux-s390x"
    assert not builder.last_build(layout, "toy", "cpu-s390x")["tested"]
    assert "its package tests were not run: they are for linux-s390x, and this is" in progress.log_file.read_text()


def test_two_builds_in_two_folders_are_the_same_bytes(tmp_path, job, progress):
    """Also with the dependencies of a local channel and at another time."""
    digests = set()
    for name in ("one", "a-longer-name"):
        layout = make_checkout(tmp_path / name)
        (package,) = builder.build(layout, job, progress)
        digests.add(hashlib.sha256(package.read_bytes()).hexdigest())
        time.sleep(1.1)
    assert len(digests) == 1


def test_a_down_prioritized_package_bears_a_tracked_feature(layout, job, progress):
    """Which is how solvers are told; tests of lanes count on the name."""
    recipe = layout.root / "recipes/toy/recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(
        text.replace(
            "    build:\n      string", "    build:\n      variant: {down_prioritize_variant: 1}\n      string"
        )
    )
    (package,) = builder.build(layout, job, progress)
    index = json.loads((layout.channel / package.parent.name / "repodata.json").read_text())
    assert index["packages.conda"][package.name]["track_features"] == "toy-p-0"


def test_failing_script_names_its_error_and_the_log(layout, job, progress):
    write_recipe(layout.root, script="'echo \"error: no such widget\"; exit 3'")
    with pytest.raises(
        UserError, match=r"building toy in lane cpu failed: error: no such widget; the full log is "
    ) as told:
        builder.build(layout, job, progress)
    assert str(progress.log_file) in str(told.value)
    assert "no such widget" in progress.log_file.read_text()
    assert published(layout) == []


def test_failing_package_test_is_not_published(layout, job, progress):
    write_recipe(layout.root, test="'echo \"error: does not run\"; false'")
    with pytest.raises(UserError, match="a package test failed: error: does not run"):
        builder.build(layout, job, progress)
    assert published(layout) == []


def test_package_that_cannot_be_installed_is_not_published(layout, job, progress):
    recipe = layout.root / "recipes/toy/recipe.yaml"
    recipe.write_text(recipe.read_text().replace("    tests:", "    requirements: {run: [nowhere >=3]}\n    tests:"))
    with pytest.raises(UserError, match=r"cannot be installed to be tested: .* nowhere >=3, for which no"):
        builder.build(layout, job, progress)
    assert published(layout) == []


def test_what_is_tested_is_what_is_published(layout, job, progress):
    """Not what rattler-build packed first: the test sees the times that the finished package bears."""
    write_recipe(layout.root, test="""'test "$(stat -c %Y "$PREFIX/share/toy")" = 1234567890'""")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1234567890")
        builder.build(layout, job, progress)
    assert len(published(layout)) == 1


@pytest.mark.parametrize(
    ("stated", "borne"), [("0", EARLIEST), ("1234567890", 1234567890), ("1234567890123", LATEST), ("²", EARLIEST)]
)
def test_a_time_that_an_archive_cannot_bear_becomes_the_nearest(tmp_path, monkeypatch, stated, borne):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", stated)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert source_time(tmp_path) == borne
    package = tmp_path / "toy.conda"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("metadata.json", "{}")
    make_reproducible(package, borne)
    assert zipfile.ZipFile(package).infolist()[0].date_time == time.gmtime(borne)[:6]


def test_missing_compiler_is_told_by_name(layout, job, progress):
    write_recipe(layout.root, build="['${{ compiler(\"c\") }}']")
    with pytest.raises(
        UserError, match=r"lane cpu cannot be built from file:.*: it has no gcc_linux-64 .*for linux-64;"
    ):
        builder.build(layout, job, progress)
    assert not layout.work.exists()


def test_no_disk_is_told_before_any_work(layout, job, progress, monkeypatch):
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: SimpleNamespace(free=5e8))
    with pytest.raises(UserError, match=r"building toy needs 3.0 GB free in .*, which has 0.5 GB; free some space"):
        builder.build(layout, job, progress)
    assert not layout.work.exists()


RUN_BUILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, also where the tests run without one
sys.path.insert(0, {scripts!r})
from pathlib import Path
from tooling.building import builder
from tooling.layout import Layout
from tooling.progress import Progress
root = Path({root!r})
layout = Layout(root=root, home=root / "build", cache=root / "cache")
builder.build(layout, builder.Job("toy", "cpu", {base!r}), Progress(layout.new_log("test")))
"""


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_build_leaves_nothing_published_and_the_next_goes_on(layout, job, progress, kind):
    write_recipe(layout.root, script="sleep 60")
    code = RUN_BUILD.format(scripts=str(ROOT / "scripts"), root=str(layout.root), base=job.base)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not any(layout.work.glob("*/bld/*/*/conda_build.log")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(kind)
    process.wait()
    assert published(layout) == []
    write_recipe(layout.root)
    builder.build(layout, job, progress)
    assert len(published(layout)) == 1
    assert not layout.work.exists()


RUN_COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.path.insert(0, {scripts!r})
from pathlib import Path
from tooling import cli
from tooling.layout import Layout
root = Path({root!r})
Layout.from_environment = lambda: Layout(root=root, home=root / "build", cache=root / "cache")
sys.exit(cli.main(["build"]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sessions are read from /proc")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_build_takes_its_compilers_with_it(layout, job, tmp_path, kind):
    """Each in a process group of its own, as ninja starts them."""
    write_recipe(layout.root, script=f"set -m; sleep 61 & echo $! > {tmp_path}/compiler; wait")
    code = RUN_COMMAND.format(scripts=str(ROOT / "scripts"), root=str(layout.root))
    environment = os.environ | {"VLLM_RECIPES_CHANNEL": job.base}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    while not (tmp_path / "compiler").exists() or not (tmp_path / "compiler").read_text().strip():
        assert process.poll() is None
        time.sleep(0.05)
    compiler = int((tmp_path / "compiler").read_text())
    assert is_running(compiler)
    process.send_signal(kind)
    assert process.wait() == 130
    assert ends(compiler)


COMPILES = [
    {"source": "a.cpp", "object": "a.o", "start": 100.0, "end": 104.0, "user_s": 3.9, "peak_rss_kb": 500_000},
    {"source": "b.cpp", "object": "b.o", "start": 102.0, "end": 107.5, "user_s": 5.1, "peak_rss_kb": 700_000},
]


def test_what_compilers_took_is_recorded_and_drawn(layout, job, progress):
    lines = "".join(json.dumps({**compile, "cache": None, "exit": 0}) + "\n" for compile in COMPILES)
    (layout.root / "data/record").write_text(lines)
    write_recipe(layout.root, script="mkdir -p build && cp data/record build/compile_record.jsonl")
    builder.build(layout, job, progress)
    record = builder.last_build(layout, "toy", "cpu")
    assert (record["compile_seconds"], record["memory_kb"]) == (7.5, 1_200_000)
    assert builder.compile_record(layout, "toy", "cpu").with_suffix(".html").exists()


def test_every_build_is_made_in_the_same_folder(layout, job, progress, tmp_path):
    """A compiler cache knows a source by its path."""
    write_recipe(layout.root, script=f"echo $PWD >> {tmp_path}/folders")
    for _ in range(2):
        builder.build(layout, job, progress)
    first, second = (tmp_path / "folders").read_text().split()
    assert first == second
