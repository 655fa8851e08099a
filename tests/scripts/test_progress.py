"""Progress: plain lines in a log, a bar on a terminal, everything in the log file."""

import contextlib
import io
import os
import pty

import pytest

from tooling import progress as module
from tooling.progress import Progress


def test_plain_lines_say_what_how_far_and_how_long(monkeypatch):
    monkeypatch.setattr(module, "PLAIN_INTERVAL_S", 0.0)
    said = io.StringIO()
    with Progress(stream=said).step("Installing", total=3) as step:
        step.advance(text="numpy")
        step.update(3, "torch")
    lines = [line.partition("] ")[2] for line in said.getvalue().splitlines()]
    assert lines[0] == "Installing 0/3 ..."
    assert lines[1].startswith("Installing 1/3: numpy (")
    assert lines[2].startswith("Installing 3/3: torch (")
    assert lines[3].startswith("Installing: done in ")
    assert all(line.startswith("[") and " s] " in line for line in said.getvalue().splitlines())
    assert "\x1b" not in said.getvalue()


def test_plain_lines_are_rare():
    said = io.StringIO()
    with Progress(stream=said).step("Counting", total=1000) as step:
        for _ in range(1000):
            step.advance()
    assert len(said.getvalue().splitlines()) == 2


def test_a_failed_step_is_not_called_done():
    said = io.StringIO()
    with pytest.raises(KeyError), Progress(stream=said).step("Building"):
        raise KeyError
    assert "Building: stopped in" in said.getvalue()


def test_the_log_file_holds_what_is_said_and_what_is_only_logged(tmp_path):
    progress = Progress(tmp_path / "logs" / "run.log", stream=io.StringIO())
    with progress.step("Building") as step:
        step.log("a compiler's line")
    assert [word in (tmp_path / "logs/run.log").read_text() for word in ("Building ...", "compiler's", "done")] == [
        True
    ] * 3


def _all_that_was_shown(terminal: int) -> str:
    """What reached a pseudo-terminal whose other end is closed: it comes in pieces, and ends with an error."""
    pieces = []
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    return b"".join(pieces).decode()


def test_a_terminal_gets_a_bar():
    parent, child = pty.openpty()
    with open(child, "w") as terminal, Progress(stream=terminal).step("Installing [x]", total=2) as step:
        step.advance(text="numpy")
    shown = _all_that_was_shown(parent)
    os.close(parent)
    assert "\x1b[" in shown and "Installing [x]" in shown and "done in" in shown
