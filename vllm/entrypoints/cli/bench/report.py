"""What the benchmarks print and write."""

import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vllm.entrypoints.cli.registry import UsageError

_LOG_INTERVAL_SECONDS = 10.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile with linear interpolation between ranks, as numpy's default."""
    ordered = sorted(values)
    rank = (len(ordered) - 1) * percent / 100
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def summarize(values: Sequence[float], percents: Iterable[float]) -> dict[str, float]:
    """mean, median, std and p<percent> of values; zeros where there are none."""
    values = values or [0.0]
    summary = {
        "mean": statistics.fmean(values),
        "median": statistics.median(values),
        "std": statistics.pstdev(values),
    }
    return summary | {f"p{percent:g}": percentile(values, percent) for percent in percents}


def check_writable(path: str | None, flag: str = "--output-json") -> None:
    """Raises UsageError now, not after the measurement, for a file that cannot be written."""
    if path is None:
        return
    folder = Path(path).absolute().parent
    if Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"{flag} {path}: give a file in a folder that exists and can be written to")


def write_json(path: str | Path | None, figures: dict[str, Any]) -> None:
    """Writes the file whole or not at all."""
    if path is not None:
        write_text(path, json.dumps(figures, indent=2) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Writes the file whole or not at all."""
    target = Path(path).absolute()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def print_table(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Prints a title and aligned name and value lines."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    print(title)
    for name, value in rows:
        print(f"  {name:<{width}}  {value:>12}")


def progress(total: int, title: str, unit: str, disable: bool = False):
    """A progress bar on standard error; in a log, a line now and then."""
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else _LOG_INTERVAL_SECONDS
    return tqdm(total=total, desc=title, unit=unit, disable=disable, mininterval=interval, dynamic_ncols=True)
