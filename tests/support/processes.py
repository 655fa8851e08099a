"""Whether processes that others started are still there."""

import time
from pathlib import Path

PATIENCE_S = 20.0


def is_running(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be noticed as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ends(pid: int) -> bool:
    """Whether the process ends, which takes a killed one a moment."""
    until = time.monotonic() + PATIENCE_S
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_running(pid)
