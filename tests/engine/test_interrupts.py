"""Ctrl-C waits for what must not be left half done."""

import os
import signal

import pytest

from vllm import interrupts
from vllm.interrupts import interrupts_deferred


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """Interrupts raise KeyboardInterrupt, also where a shell runs the tests in the background and ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("all of it")
    assert done == ["all of it"]


def test_ignored_interrupts_need_no_deferring(monkeypatch):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr(interrupts, "set_handler", lambda *arguments: pytest.fail("a handler was set"))
    with interrupts_deferred():
        os.kill(os.getpid(), signal.SIGINT)


def test_what_handles_interrupts_outside_of_python_keeps_them(monkeypatch):
    """A program that embeds Python: its handler cannot be read, nor set again."""
    monkeypatch.setattr(interrupts, "get_handler", lambda number: None)
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the interrupt came late")
