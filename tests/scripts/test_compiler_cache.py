"""A build compiles through sccache when SCCACHE_DIR asks for it, with a server that lives as long as the build."""

import os
from pathlib import Path

import pytest

from tooling.building.compiler_cache import compiler_cache
from tooling.errors import UserError

FAKE = """#!/bin/sh
echo "$1 $SCCACHE_SERVER_UDS $SCCACHE_DIR" >> "$0.log"
echo "Cache hits 3"
exit %d
"""


@pytest.fixture
def sccache(tmp_path, monkeypatch):
    """Puts a program of that name on PATH that ends with a status; its log."""

    def make(status: int = 0) -> Path:
        program = tmp_path / "bin" / "sccache"
        program.parent.mkdir()
        program.write_text(FAKE % status)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        return program.with_name("sccache.log")

    monkeypatch.setenv("SCCACHE_DIR", str(tmp_path / "cache"))
    return make


def test_nothing_is_started_unless_it_is_asked_for(sccache, monkeypatch):
    log = sccache()
    monkeypatch.delenv("SCCACHE_DIR")
    with compiler_cache(print) as variables:
        assert variables == {}
    assert not log.exists()


def test_a_server_lives_as_long_as_the_build(sccache, tmp_path):
    log, said = sccache(), []
    with compiler_cache(said.append) as variables:
        socket = variables["SCCACHE_SERVER_UDS"]
        assert [path.name for path in Path(variables["PATH"]).iterdir()] == ["sccache"], "nothing else of the user's"
        assert log.read_text().splitlines() == [f"--start-server {socket} {tmp_path / 'cache'}"]
        assert len(socket) < 100, "addresses of sockets are short"
    assert log.read_text().splitlines()[1:] == [f"--stop-server {socket} {tmp_path / 'cache'}"]
    assert said == ["Cache hits 3\n"] and not Path(socket).parent.exists()


def test_a_build_that_fails_ends_the_server(sccache):
    log = sccache()
    with pytest.raises(ValueError), compiler_cache(print):
        raise ValueError
    assert log.read_text().splitlines()[-1].startswith("--stop-server")


def test_a_missing_program_is_one_line_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SCCACHE_DIR", str(tmp_path / "cache"))
    line = r"^SCCACHE_DIR asks for sccache, .* install it .*, or unset SCCACHE_DIR$"
    with pytest.raises(UserError, match=line), compiler_cache(print):
        pass


def test_a_server_that_does_not_start_is_reported(sccache):
    sccache(status=1)
    with pytest.raises(UserError, match="sccache does not start"), compiler_cache(print):
        pass
