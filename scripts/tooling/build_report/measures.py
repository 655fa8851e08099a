"""What is read off a record: who ran beside whom, how much was running and in memory at a time, totals."""

from __future__ import annotations

import os.path
from collections.abc import Callable
from dataclasses import dataclass

from tooling.build_report.records import HIT, Compile


@dataclass(frozen=True)
class Totals:
    """Figures of a whole build."""

    compiles: int
    seconds: float
    """From the first start to the last end."""
    work: float
    """Seconds that compilers ran, added up."""
    parallel: int
    """Most compilers at a time."""
    memory_kb: int
    """Most memory at a time, if each compiler took its peak throughout; 0 where it was not measured."""
    hits: int
    cached: int
    """Compiles that asked a cache."""
    failed: int


CLOCK_S = 1e-3
"""Times of a record are no finer."""


def rows(compiles: list[Compile]) -> list[int]:
    """A row for each compile: the first one that is free when it starts. There are as many as ran at a time."""
    free_at: list[float] = []
    result = []
    for compile in compiles:
        row = next((row for row, end in enumerate(free_at) if end <= compile.start + CLOCK_S), len(free_at))
        if row == len(free_at):
            free_at.append(0.0)
        free_at[row] = compile.end
        result.append(row)
    return result


def profile(compiles: list[Compile], weight: Callable[[Compile], float]) -> list[tuple[float, float]]:
    """(time, sum of weights of what runs from then on) at each time at which the sum changes."""
    changes: dict[float, float] = {}
    for compile in compiles:
        changes[compile.start] = changes.get(compile.start, 0.0) + weight(compile)
        changes[compile.end] = changes.get(compile.end, 0.0) - weight(compile)
    total, result = 0.0, []
    for time in sorted(changes):
        total += changes[time]
        result.append((time, max(total, 0.0)))
    return result


def memory_kb(compile: Compile) -> float:
    """Peak memory, 0 where it was not measured."""
    return float(compile.peak_rss_kb or 0)


def totals(compiles: list[Compile]) -> Totals:
    """Figures of the build."""
    return Totals(
        compiles=len(compiles),
        seconds=max(c.end for c in compiles) - min(c.start for c in compiles),
        work=sum(c.seconds for c in compiles),
        parallel=max(rows(compiles)) + 1,
        memory_kb=int(max(value for _, value in profile(compiles, memory_kb))),
        hits=sum(c.cache == HIT for c in compiles),
        cached=sum(c.cache is not None for c in compiles),
        failed=sum(c.exit != 0 for c in compiles),
    )


def short_names(compiles: list[Compile]) -> dict[str, str]:
    """Sources by what is left of them without the folder that all share."""
    sources = {compile.source for compile in compiles}
    shared = (
        os.path.commonpath([os.path.dirname(s) for s in sources]) if len({s[:1] == "/" for s in sources}) == 1 else ""
    )
    return {source: os.path.relpath(source, shared) if shared else source for source in sources}
