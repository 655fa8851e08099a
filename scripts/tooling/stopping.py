"""What asks a command to stop ends it as Ctrl-C does, so that what it started ends with it. Standard library only."""

import signal

ASKING = (signal.SIGTERM, signal.SIGHUP)
"""SIGHUP comes when a terminal is closed, or the connection to it."""


def stop_as_by_ctrl_c() -> None:
    """Raise KeyboardInterrupt on these signals from now on; one that is ignored, as under nohup, stays so."""
    for number in ASKING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
