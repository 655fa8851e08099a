"""What asks a command to stop ends it as Ctrl-C does, so that what it started ends with it. Standard library only."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

ASKING = (signal.SIGTERM, signal.SIGHUP)
"""SIGHUP comes when a terminal is closed, or the connection to it."""


def stop_as_by_ctrl_c() -> None:
    """Raise KeyboardInterrupt on these signals from now on; one that is ignored, as under nohup, stays so."""
    for number in ASKING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def reading(command: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen]:
    """A process whose output, errors among it, is read in the block, and which has ended after it.

    An error in the block ends it together with what it started.
    """
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.wait()
