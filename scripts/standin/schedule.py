"""Downloads and builds side by side: a unit is built as soon as its inputs and the packages it needs are there."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from standin.builder import Job, serve
from standin.store import Unit
from tooling.errors import UserError

Fetch = Callable[[], list[Unit]]

FIXED_COST_S = 2.5
INPUT_BYTES_PER_S = 10e6
"""What a build takes, roughly: environments and tests, and unpacking and packing its inputs."""


class Workers:
    """Processes that build one unit each at a time."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._idle: queue.SimpleQueue = queue.SimpleQueue()
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._idle.put(ours)

    def build(self, job: Job) -> Path:
        """Build in the next idle process; raises UserError with the engine's log."""
        connection = self._idle.get()
        try:
            connection.send(job)
            built, problem = connection.recv()
        except (EOFError, OSError):
            raise UserError(f"building {job.unit.id} was interrupted; run the command again to go on") from None
        self._idle.put(connection)
        if problem is not None:
            log = job.work / "failed.log"
            log.write_text(problem)
            raise UserError(f"the stand-in package {job.unit.id} could not be built: {last_line(problem)} (log: {log})")
        return built

    def stop(self) -> None:
        """End the processes with everything that they started."""
        for process in self._processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                process.kill()


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")


@dataclass
class Board:
    """Which units are waiting, and for what."""

    known: frozenset[str]
    """The id of every unit that the channel will hold."""
    needs: dict[str, frozenset[str]] = field(default_factory=dict)
    waiting: dict[str, Unit] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    built: set[str] = field(default_factory=set)

    def add(self, unit: Unit, needs: Iterable[str]) -> None:
        """A unit whose inputs are there."""
        self.needs[unit.id] = frozenset(needs) & self.known - {unit.id}
        self.waiting[unit.id] = unit
        self.cost[unit.id] = FIXED_COST_S + sum(path.stat().st_size for path in unit.inputs) / INPUT_BYTES_PER_S

    def renew(self, needs_of: Callable[[Unit], Iterable[str]]) -> None:
        """Ask again what waiting units need: it is more once what they need has come, with needs of its own."""
        for name, unit in self.waiting.items():
            self.needs[name] = frozenset(needs_of(unit)) & self.known - {name}

    def take(self) -> Unit | None:
        """The unit to start next: of those that can start, the one with the longest way to the end."""
        ready = [name for name in self.waiting if self.needs[name] <= self.built]
        if not ready:
            return None
        return self.waiting.pop(max(ready, key=self._way))

    def restrict(self, names: Iterable[str]) -> None:
        """Forget what `names` do not need, directly or through others; every unit must have been added."""
        wanted: set[str] = set()
        stack = list(names)
        while stack:
            name = stack.pop()
            if name not in wanted:
                wanted.add(name)
                stack.extend(self.needs[name])
        self.waiting = {name: unit for name, unit in self.waiting.items() if name in wanted}

    def _way(self, name: str) -> float:
        """Seconds, roughly, from the start of a unit to the end of the last one that waits for it."""
        followers = (self._way(other) for other in self.waiting if name in self.needs[other])
        return self.cost[name] + max(followers, default=0.0)


def run(
    fetches: list[Fetch],
    board: Board,
    needs_of: Callable[[Unit], Iterable[str]],
    build: Callable[[Unit], None],
    done: Callable[[Unit], None],
    jobs: int,
    only: frozenset[str] = frozenset(),
) -> None:
    """Run all fetches, then `build` for each unit that they give, `jobs` at a time, in an order that `needs_of` allows.

    `done` is called in this thread after each. With `only`, nothing but these and what they need is built, once all
    fetches are through. The first failure stops what has not begun and is raised.
    """
    downloads = ThreadPoolExecutor(6, thread_name_prefix="fetch")
    builds = ThreadPoolExecutor(jobs, thread_name_prefix="build")
    fetching: set[Future] = {downloads.submit(fetch) for fetch in fetches}
    building: dict[Future, Unit] = {}
    try:
        while fetching or building:
            finished, _ = wait([*fetching, *building], return_when=FIRST_COMPLETED)
            for future in finished:
                if future in building:
                    unit = building.pop(future)
                    future.result()
                    board.built.add(unit.id)
                    done(unit)
                else:
                    fetching.discard(future)
                    for unit in future.result():
                        board.add(unit, needs_of(unit))
            if only and fetching:
                continue
            board.renew(needs_of)
            if only:
                board.restrict(only)
            while len(building) < jobs and (unit := board.take()):
                building[builds.submit(build, unit)] = unit
    finally:
        downloads.shutdown(wait=False, cancel_futures=True)
        builds.shutdown(wait=False, cancel_futures=True)
    if board.waiting:
        name = min(board.waiting)
        lacking = ", ".join(sorted(board.needs[name] - board.built))
        raise UserError(f"the stand-in package {name} needs {lacking}, which nothing in scripts/standin makes")
