"""What asks a command to stop, and what ends with it."""

import signal
import subprocess
import sys

import pytest

from support.checkout import ROOT
from support.processes import ends
from tooling import testing
from tooling.layout import Layout
from tooling.progress import Progress
from tooling.stopping import ASKING

PIP = """#!/bin/sh
test "$3" = list && exit
sleep 60 & echo Collecting $!
wait
"""


class Stopped(Progress):
    """Stops when it is told of the first package."""

    def log(self, line: str) -> None:
        super().log(line)
        if line.startswith("Collecting"):
            self.started = int(line.split()[1])
            raise KeyboardInterrupt


@pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
def test_stopped_while_it_installs_what_tests_need_pip_ends_too(tmp_path):
    python = tmp_path / "bin/python"
    for folder in ("bin", "conda-meta"):
        (tmp_path / folder).mkdir()
    python.write_text(PIP)
    python.chmod(0o755)
    progress = Stopped()
    with pytest.raises(KeyboardInterrupt):
        testing.install_requirements(Layout(root=tmp_path, home=tmp_path, cache=tmp_path), tmp_path, progress)
    assert ends(progress.started)


ASK = """
import os, signal, sys
sys.path.insert(0, {scripts!r})
from tooling.stopping import stop_as_by_ctrl_c
signal.signal({number}, {before})
stop_as_by_ctrl_c()
try:
    os.kill(os.getpid(), {number})
except KeyboardInterrupt:
    print("stopped")
else:
    print("went on")
"""


@pytest.mark.parametrize(("before", "outcome"), [("signal.SIG_DFL", "stopped"), ("signal.SIG_IGN", "went on")])
@pytest.mark.parametrize("number", ASKING)
def test_signals_stop_as_ctrl_c_does_unless_they_are_ignored(number: signal.Signals, before, outcome):
    """As SIGHUP is under nohup."""
    code = ASK.format(scripts=str(ROOT / "scripts"), number=int(number), before=before)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == f"{outcome}\n"
