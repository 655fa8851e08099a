"""What is being done, how far it is and how long it took: a bar on a terminal, plain lines everywhere else.

Everything is written to standard error, so that a command's own output stays clean. Lines given to `log` go to the
run's log file only; `say` shows them as well.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

PLAIN_INTERVAL_S = 5.0
"""A plain log gets at most one line of progress in this many seconds, besides each step's first and last line."""


class Step:
    """One step under way. `advance` counts towards `total`; without a total only the elapsed time is shown."""

    def __init__(self, progress: Progress, title: str, total: float | None) -> None:
        self.title = title
        self.total = total
        self.done: float = 0
        self.text = ""
        self.started = time.monotonic()
        self._progress = progress

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started

    def advance(self, n: float = 1, text: str = "") -> None:
        """Count `n` more units as done; `text` says which one is being worked on."""
        self.update(self.done + n, text)

    def update(self, done: float | None = None, text: str = "", total: float | None = None) -> None:
        """Set how much is done (and of how much) outright."""
        self.done = self.done if done is None else done
        self.total = self.total if total is None else total
        self.text = text or self.text
        self._progress._show(self)

    def log(self, line: str) -> None:
        """Write `line` to the run's log file."""
        self._progress.log(line)

    @property
    def count(self) -> str:
        """How much is done of how much; nothing where that is not known."""
        return f"{self.done:g}/{self.total:g}" if self.total else ""

    def describe(self) -> str:
        """The step as a plain line, without its elapsed time."""
        return f"{self.title}{' ' + self.count if self.count else ''}{': ' + self.text if self.text else ''}"


class Progress:
    """Reports steps, one inside another at most as deep as they are called, to a terminal or to a plain log."""

    def __init__(self, log_file: Path | None = None, stream: TextIO | None = None) -> None:
        self.log_file = log_file
        self._stream = sys.stderr if stream is None else stream
        self._started = time.monotonic()
        self._last_plain = 0.0
        self._bars = None
        self._tasks: dict[int, int] = {}
        self._log: TextIO | None = None

    @contextmanager
    def step(self, title: str, total: float | None = None) -> Iterator[Step]:
        """Show `title` as under way until the block ends, then how long it took."""
        step = Step(self, title, total)
        self._begin(step)
        try:
            yield step
        except BaseException:
            self._end(step, "stopped")
            raise
        self._end(step, "done")

    def log(self, line: str) -> None:
        """Write `line` to the run's log file (kept under the build folder), not to the screen."""
        if self.log_file is None:
            return
        if self._log is None:
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            self._log = self.log_file.open("a", encoding="utf-8", errors="replace")
        self._log.write(f"[{time.monotonic() - self._started:8.1f} s] {line.rstrip()}\n")
        self._log.flush()

    def say(self, line: str) -> None:
        """Show `line` and log it."""
        self.log(line)
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False)
        else:
            print(f"[{time.monotonic() - self._started:7.1f} s] {line}", file=self._stream, flush=True)

    def _begin(self, step: Step) -> None:
        if not self._stream.isatty():
            self.say(f"{step.describe()} ...")
            self._last_plain = time.monotonic()
            return
        self.log(f"{step.title} ...")
        if self._bars is None:
            self._bars = _terminal_bars(self._stream)
            self._bars.start()
        self._tasks[id(step)] = self._bars.add_task(step.title, total=step.total, count=step.count, text="")

    def _show(self, step: Step) -> None:
        if self._bars is not None:
            self._bars.update(
                self._tasks[id(step)], completed=step.done, total=step.total, count=step.count, text=step.text
            )
        elif time.monotonic() - self._last_plain >= PLAIN_INTERVAL_S:
            self._last_plain = time.monotonic()
            self.say(f"{step.describe()} ({step.elapsed:.0f} s)")

    def _end(self, step: Step, state: str) -> None:
        if self._bars is not None:
            self._bars.remove_task(self._tasks.pop(id(step)))
        self.say(f"{step.title}: {state} in {step.elapsed:.1f} s")
        if self._bars is not None and not self._tasks:
            self._bars.stop()
            self._bars = None


def _terminal_bars(stream: TextIO):
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    return Progress(*columns, console=Console(file=stream), transient=True)
