"""Two runs at once: the second says that it waits, then goes on."""

import io
import subprocess
import sys
import threading

import pytest

from support.checkout import ROOT
from tooling.locks import exclusive
from tooling.progress import Progress

HOLD = """
import sys
sys.path.insert(0, {scripts!r})
from pathlib import Path
from tooling.locks import exclusive
from tooling.progress import Progress
with exclusive(Path({lock!r}), Progress()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock until its standard input is closed or it is killed."""
    code = HOLD.format(scripts=str(ROOT / "scripts"), lock=str(tmp_path / "lock"))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def end_by_closing(process):
    process.stdin.close()


def end_by_killing(process):
    process.kill()


@pytest.mark.parametrize("end", [end_by_closing, end_by_killing])
def test_the_second_waits_with_a_message_and_goes_on(holder, tmp_path, end):
    said = io.StringIO()
    entered = threading.Event()

    def second():
        with exclusive(tmp_path / "lock", Progress(stream=said)):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not entered.wait(0.5)
    assert f"Waiting for another run (process {holder.pid})" in said.getvalue()
    end(holder)
    assert entered.wait(20)
    thread.join()


def test_a_free_lock_is_taken_without_a_word(tmp_path):
    said = io.StringIO()
    for _ in range(2):
        with exclusive(tmp_path / "lock", Progress(stream=said)):
            pass
    assert said.getvalue() == ""
