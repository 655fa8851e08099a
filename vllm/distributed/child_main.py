"""What the processes that this package starts have in common when they begin and when they fail."""

import os
import select
import signal
import sys
import threading
import traceback

from vllm.exceptions import EngineDeadError
from vllm.log import set_up_logging


def begin() -> None:
    """To be called first. Interrupts and SIGTERM are left to the parent, whose end is noticed by its socket."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    # Whatever a library prints belongs on stderr: stdout is the parent's.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    set_up_logging()


def end_with(descriptor: int) -> None:
    """From now on this process ends at once, whatever it is doing, when the other end of this socket is closed."""

    def wait() -> None:
        hang_up = select.poll()
        hang_up.register(descriptor, 0)  # nothing but the end is waited for: others read what comes
        hang_up.poll()
        os._exit(0)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def describe_failure(error: Exception) -> tuple[str, bool]:
    """One line for the parent, and whether the user's configuration or model is at fault.

    A user's mistake needs no traceback; anything else gets one on stderr.
    """
    lines = str(error).strip().splitlines() or ["no message"]
    if isinstance(error, ValueError):
        return lines[0], True
    if isinstance(error, EngineDeadError):
        return lines[0], False
    traceback.print_exception(error)
    sys.stderr.flush()
    return f"{type(error).__name__}: {lines[0]}", False
