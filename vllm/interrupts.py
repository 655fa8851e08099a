"""Ctrl-C in the middle of what must not be left half done."""

import _signal
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Module signal's own functions look each handler up among the members of an enum, which would cost a decoding step more
# than its scheduling does.
get_handler, set_handler = _signal.getsignal, _signal.signal


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """A SIGINT that arrives within the block is handled when it ends, as it would have been before."""
    # Other threads get no signals, a server's engine ignores this one, and what a program around Python handles by
    # itself could not be put back.
    if threading.current_thread() is not threading.main_thread() or not callable(get_handler(signal.SIGINT)):
        yield
        return
    arrived: list[tuple] = []
    before = set_handler(signal.SIGINT, lambda *arguments: arrived.append(arguments))
    try:
        yield
    finally:
        set_handler(signal.SIGINT, before)
    if arrived:
        before(*arrived[0])
