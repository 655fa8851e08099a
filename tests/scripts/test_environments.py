"""Environments: solved, installed under a temporary name, switched to, and never deleted under a running program."""

import asyncio
import subprocess
import sys

import pytest

from support.checkout import ROOT
from support.toy_checkout import make_checkout, make_empty_channel
from tooling.building import builder
from tooling.errors import UserError
from tooling.installing import environments
from tooling.progress import Progress


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    return make_checkout(tmp_path / "checkout")


@pytest.fixture
def channels(layout, tmp_path):
    job = builder.Job("toy", "cpu", make_empty_channel(tmp_path / "base"))
    builder.build(layout, job, Progress())
    return builder.channel_urls(layout, job.base)


def install(layout, channels, key):
    prefix = environments.install(layout, "serve", key, channels, ["toy"], Progress())
    environments.finish(layout, "serve", prefix)
    return prefix


def test_installs_what_the_channel_holds(layout, channels):
    prefix = install(layout, channels, "one")
    assert (prefix / "share/toy").read_text() == "first\n"
    assert environments.packages(prefix) == {"toy": "1.0"}
    assert environments.current(layout, "serve", "one") == prefix


def test_a_rebuilt_package_of_the_same_name_is_not_taken_from_the_cache(layout, channels):
    install(layout, channels, "one")
    (layout.root / "data/text").write_text("second\n")
    builder.build(layout, builder.Job("toy", "cpu", channels[-1]), Progress())
    assert (install(layout, channels, "two") / "share/toy").read_text() == "second\n"


def test_only_the_matching_key_is_current(layout, channels):
    install(layout, channels, "one")
    assert environments.current(layout, "serve", "two") is None


def test_an_unfinished_environment_is_not_current(layout, channels):
    environments.install(layout, "serve", "one", channels, ["toy"], Progress())
    assert environments.current(layout, "serve", "one") is None
    assert install(layout, channels, "one").is_dir()


def test_a_new_environment_replaces_the_old(layout, channels):
    old = install(layout, channels, "one")
    new = install(layout, channels, "two")
    assert not old.exists() and new.exists()


HOLD = """
import os, sys
sys.path.insert(0, {scripts!r})
from pathlib import Path
from tooling.locks import hold_shared
hold_shared(Path({mark!r}))
os.execvp("cat", ["cat"])
"""


def test_an_environment_in_use_stays_until_its_program_has_ended(layout, channels):
    old = install(layout, channels, "one")
    code = HOLD.format(scripts=str(ROOT / "scripts"), mark=str(old / environments.USE_MARK))
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        program.stdin.write(b"running\n")
        program.stdin.flush()
        assert program.stdout.readline() == b"running\n"
        install(layout, channels, "two")
        assert old.exists()
    install(layout, channels, "three")
    assert not old.exists()


def test_no_solution_is_one_line_that_names_the_package(layout, channels):
    with pytest.raises(UserError, match=r"^nonsense cannot be installed here: [^\n]*nonsense[^\n]*$"):
        environments.install(layout, "serve", "one", channels, ["nonsense"], Progress())


def test_solve_takes_virtual_packages(channels):
    records = asyncio.run(environments.solve(channels, ["toy"], virtual_packages=[]))
    assert [record.name.normalized for record in records] == ["toy"]
