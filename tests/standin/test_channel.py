"""The channel is made once, goes on after an interruption, and says on one line what is lacking."""

import io
import json
import os
import signal
import threading
from functools import partial

import pytest

from standin import __main__ as command
from standin import channel, making, plan
from standin.builder import BuildError, Job, build
from standin.schedule import Workers
from standin.store import Unit
from tooling.errors import UserError
from tooling.progress import Progress

RECIPE = """
schema_version: 1
package: {{name: {name}, version: "1"}}
build: {{noarch: generic, script: ["mkdir -p $PREFIX/share", "{script}"]}}
requirements: {{run: [{run}]}}
tests: [{{package_contents: {{files: ["share/{name}"]}}}}]
about: {{license: MIT}}
"""


def unit(name, run="", script="touch $PREFIX/share/{name}"):
    return Unit(name, RECIPE.format(name=name, run=run, script=script.format(name=name)))


@pytest.fixture
def few(monkeypatch, tmp_path):
    """A channel of two packages, which need no download."""
    units = [unit("first"), unit("second", run="first")]
    monkeypatch.setattr(plan, "package_names", lambda: ["first", "second"])
    monkeypatch.setattr(making.Making, "_fetches", lambda self: [lambda: units])
    monkeypatch.setattr(channel, "require_disk", lambda *args: None)
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    return units


def quiet():
    return Progress(stream=io.StringIO())


def test_channel_is_made_once_and_found_again(few, tmp_path, monkeypatch):
    folder = channel.ensure_channel(tmp_path / "cache", quiet())
    records = json.loads((folder / "noarch/repodata.json").read_text())["packages.conda"]
    assert sorted(record["name"] for record in records.values()) == ["first", "second"]
    assert (folder / "linux-64/repodata.json").exists() and (folder / "noarch/repodata_shards.msgpack.zst").exists()
    assert all((folder / "noarch" / file).stat().st_mode & 0o777 == 0o644 for file in records)
    monkeypatch.setattr(making.Making, "run", lambda self, only: pytest.fail("the channel is made again"))
    assert channel.ensure_channel(tmp_path / "cache", quiet()) == folder
    assert list((tmp_path / "cache/standin").glob("growing")) == []


def test_next_run_goes_on_from_finished_packages(few, tmp_path, monkeypatch):
    few[1] = unit("second", run="first", script="exit 3")
    with pytest.raises(UserError, match=r"second could not be built: .*log: ") as caught:
        channel.ensure_channel(tmp_path / "cache", quiet())
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache/standin").glob("channel-*"))
    few[1] = unit("second", run="first")
    built = []
    whole = Workers.build
    monkeypatch.setattr(Workers, "build", lambda self, job: built.append(job.unit.name) or whole(self, job))
    channel.ensure_channel(tmp_path / "cache", quiet())
    assert built == ["second"]


def test_only_prints_the_files(few, tmp_path, capsys):
    assert command.main(["--cache", str(tmp_path / "cache"), "--only", "first"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(".conda") and "first-1" in line and os.path.exists(line)
    assert not list((tmp_path / "cache/standin").glob("channel-*"))


def test_only_unknown_name(few, tmp_path, capsys):
    assert command.main(["--cache", str(tmp_path / "cache"), "--only", "third"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: the stand-in channel has no third; see python -m standin --list"
    )


def test_dry_run_makes_nothing(tmp_path, capsys):
    assert command.main(["--cache", str(tmp_path / "cache"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "debs with apt-get" in printed and str(tmp_path / "cache/standin/channel-") in printed
    assert not (tmp_path / "cache").exists()


def test_list(capsys):
    assert command.main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == plan.package_names()


def test_full_disk_is_said_before_anything_is_fetched(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(channel, "DISK_NEEDED", 1e18)
    assert command.main(["--cache", str(tmp_path / "cache")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: building the stand-in channel needs 1000000000.0 GB free")


def test_other_machines_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(channel.platform, "machine", lambda: "aarch64")
    assert command.main(["--cache", str(tmp_path / "cache")]) == 2
    assert "the stand-in channel is for x86_64 Linux, and this is aarch64 linux" in capsys.readouterr().err


def test_white_space_in_the_caches_path_is_refused_before_anything_is_fetched(tmp_path, capsys):
    """Its compilers could not be built there."""
    assert command.main(["--cache", str(tmp_path / "my cache")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "my cache/standin' has white space in it" in error
    assert error.endswith("set XDG_CACHE_HOME to a folder without")


def test_disk_that_fills_up_while_building(few, tmp_path, monkeypatch):
    def full(self, only):
        raise OSError(28, "No space left on device", "growing")

    monkeypatch.setattr(making.Making, "run", full)
    with pytest.raises(UserError, match=r"cannot be written: No space left on device .*run the command again"):
        channel.ensure_channel(tmp_path / "cache", quiet())


def test_cache_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "cache").write_text("a file")
    assert command.main(["--cache", str(tmp_path / "cache")]) == 2
    error = capsys.readouterr().err
    assert "cannot be written: Not a directory" in error and error.count("\n") == 1


def test_file_system_without_hard_links(few, tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(making.os, "link", refuse)
    assert len(list(channel.ensure_channel(tmp_path / "cache", quiet()).glob("noarch/*.conda"))) == 2


def test_interrupt_is_one_line(tmp_path, monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "channel_with", interrupted)
    assert command.main(["--cache", str(tmp_path)]) == 130
    assert "the next run goes on" in capsys.readouterr().err


def test_digest_follows_the_files(monkeypatch, tmp_path):
    monkeypatch.setattr(channel, "HERE", tmp_path)
    (tmp_path / "wheels.lock").write_text("a")
    before = channel.content_digest()
    (tmp_path / "compiled.pyc").write_text("x")
    assert channel.content_digest() == before
    (tmp_path / "wheels.lock").write_text("b")
    assert channel.content_digest() != before


def test_engine_error_comes_with_the_scripts_words(tmp_path):
    empty = tmp_path / "empty"
    for subdir in making.SUBDIRS:
        (empty / subdir).mkdir(parents=True)
        (empty / subdir / "repodata.json").write_text('{"packages": {}, "packages.conda": {}}')
    job = partial(Job, channel=empty.as_uri(), work=tmp_path / "work")
    with pytest.raises(BuildError, match="the reason why"):
        build(job(unit("broken", script="echo the reason why; exit 1")))
    with pytest.raises(BuildError, match="nothing-makes-this"):
        build(job(Unit("lacking", unit("lacking").recipe.replace("run: [", "host: [nothing-makes-this], run: ["))))
    done = build(job(unit("fine")))
    entry = json.loads((done / "record.json").read_text())
    assert entry["subdir"] == "noarch" and (done / "noarch" / entry["file"]).exists() and entry["record"]["sha256"]


def test_killed_worker_is_reported_and_leaves_no_package(tmp_path):
    workers = Workers(1)
    try:
        slow = Job(unit("slow", script="sleep 60"), tmp_path.as_uri(), tmp_path / "work")
        for subdir in making.SUBDIRS:
            (tmp_path / subdir).mkdir()
            (tmp_path / subdir / "repodata.json").write_text('{"packages": {}, "packages.conda": {}}')
        process = workers._processes[0]
        threading.Timer(2.0, lambda: os.killpg(process.pid, signal.SIGKILL)).start()
        with pytest.raises(UserError, match="building slow was interrupted; run the command again"):
            workers.build(slow)
        assert not (tmp_path / "work/done").exists()
    finally:
        workers.stop()
