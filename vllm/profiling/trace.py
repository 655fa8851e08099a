"""Spans of time, and the trace-event format that Chrome and Perfetto read."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Span:
    """`start` is in seconds since the recorder was made; `depth` counts the spans around this one."""

    name: str
    category: str
    start: float
    seconds: float
    depth: int
    details: Mapping[str, str]


class Recorder:
    """Collects spans of one thread, inner ones before those around them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._origin = time.perf_counter()
        self._depth = 0

    @contextmanager
    def span(self, name: str, category: str, **details: str) -> Iterator[None]:
        depth, self._depth = self._depth, self._depth + 1
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self._depth = depth
            self.spans.append(Span(name, category, started - self._origin, seconds, depth, details))


@dataclass(frozen=True)
class StepTrace:
    """One step: `prefill` or `decode`, and how many sequences computed how many tokens."""

    kind: str
    sequences: int
    tokens: int
    spans: list[Span] = field(repr=False)

    @property
    def title(self) -> str:
        return f"{self.kind}: {self.sequences} sequences, {self.tokens} tokens"


def chrome_trace(steps: list[StepTrace]) -> dict[str, Any]:
    """Complete events ("ph": "X") in microseconds from each step's begin, a process for each step.

    The format is Google's "Trace Event Format"; `args.depth` is an addition that other readers show and ignore.
    """
    events: list[dict[str, Any]] = []
    for process, step in enumerate(steps, start=1):
        label = {"name": "process_name", "ph": "M", "pid": process, "tid": 1, "args": {"name": step.title}}
        events.append(label)
        origin = min((span.start for span in step.spans), default=0.0)
        for span in sorted(step.spans, key=lambda span: (span.start, span.depth)):
            events.append(
                {
                    "name": span.name,
                    "cat": span.category,
                    "ph": "X",
                    "ts": round(1e6 * (span.start - origin), 3),
                    "dur": round(1e6 * span.seconds, 3),
                    "pid": process,
                    "tid": 1,
                    "args": {"depth": span.depth, **span.details},
                }
            )
    return {"traceEvents": events, "displayTimeUnit": "ms"}
