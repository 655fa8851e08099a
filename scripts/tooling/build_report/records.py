"""The record of a build: one JSON object a line, one line a compile, as build_support/compile_launcher.py writes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tooling.errors import UserError

RECORD = "compile_record.jsonl"
HIT, MISS = "hit", "miss"


@dataclass(frozen=True)
class Compile:
    """One run of a compiler. Times in seconds since 1970."""

    source: str
    start: float
    end: float
    user_s: float
    peak_rss_kb: int | None
    """Peak memory in KiB; None where another process did the work."""
    cache: str | None
    """hit, miss, or None where no compiler cache is used."""
    exit: int

    @property
    def seconds(self) -> float:
        """Wall-clock time."""
        return self.end - self.start


def read(file: Path) -> list[Compile]:
    """The compiles of a record by their start. A last line that was cut off by the end of a build is left out."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}; name a build's {RECORD}") from None
    compiles = []
    for number, line in enumerate(lines, 1):
        try:
            compiles.append(_compile(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) and not line.endswith("\n"):
                continue
            raise UserError(f"{file}, line {number} is no record of a compile: {error!r}") from None
    if not compiles:
        raise UserError(f"{file} records no compile: name the {RECORD} of a build that compiled something")
    return sorted(compiles, key=lambda compile: (compile.start, compile.source))


def _compile(line: dict) -> Compile:
    memory = line["peak_rss_kb"]
    found = Compile(
        source=str(line["source"]),
        start=float(line["start"]),
        end=float(line["end"]),
        user_s=float(line["user_s"]),
        peak_rss_kb=None if memory is None else int(memory),
        cache=line.get("cache"),
        exit=int(line["exit"]),
    )
    if not 0 <= found.start <= found.end < 1e11:
        raise ValueError(f"start {found.start} and end {found.end}")
    return found
