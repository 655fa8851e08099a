"""Processes that begin with all that a test has made, and may end by a signal."""

import os
import signal
import sys
import traceback
from collections.abc import Callable

import torch

DEADLINE_S = 120


def fork(body: Callable[..., object], *arguments: object) -> int:
    """The id of a process that calls `body` and ends."""
    child = os.fork()
    if child != 0:
        return child
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(DEADLINE_S)
    torch.set_num_threads(1)  # those of the parent are not in this process
    try:
        body(*arguments)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def wait_for(*children: int) -> None:
    """Fails where one raised, was ended by a signal, or did not end in time."""
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)
