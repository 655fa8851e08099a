#!/usr/bin/env python3
"""Time every CPU op beside torch: microseconds, GB/s of what must be read and written, and how many times faster.

    python benchmarks/kernels.py [--op NAME] [--dtype bfloat16|float32] [--threads N] [--json]

Each figure is the fastest of several rounds of calls, which the noise of other processes disturbs least.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator

import torch
from kernel_rows import Row, all_rows

from vllm.kernels import cpu_isa


def seconds_per_call(function: Callable[[], object], budget: float) -> float:
    """The fastest round's mean, rounds of about a millisecond repeated for `budget` seconds."""
    function()
    start = time.perf_counter()
    function()
    calls = max(1, min(1000, int(1e-3 / max(time.perf_counter() - start, 1e-7))))
    best, end = float("inf"), time.perf_counter() + budget
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        best = min(best, (time.perf_counter() - start) / calls)
    return best


def measured(rows: Iterator[Row], budget: float) -> Iterator[dict]:
    for row in rows:
        ours, in_torch = (seconds_per_call(function, budget) for function in (row.ours, row.torch))
        yield {
            "op": row.op,
            "shape": row.shape,
            "dtype": str(row.dtype).removeprefix("torch."),
            "us": round(ours * 1e6, 2),
            "gb_per_s": round(row.bytes_moved / ours * 1e-9, 2),
            "torch_us": round(in_torch * 1e6, 2),
            "speedup": round(in_torch / ours, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--op", help="only ops whose name contains this")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"))
    parser.add_argument("--threads", type=int, help="torch's thread count (default: all cores)")
    parser.add_argument("--seconds", type=float, default=0.05, help="time spent on each figure")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows = (
        row
        for row in all_rows()
        if (not arguments.op or arguments.op in row.op)
        and (not arguments.dtype or str(row.dtype).endswith(arguments.dtype))
    )
    if not arguments.json:
        print(f"{cpu_isa()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
        print(f"{'op':28}{'shape':>12}{'dtype':>10}{'us':>10}{'GB/s':>8}{'torch us':>10}{'speedup':>9}")
    for figures in measured(rows, arguments.seconds):
        if arguments.json:
            print(json.dumps(figures), flush=True)
        else:
            print(
                "{op:28}{shape:>12}{dtype:>10}{us:>10.2f}{gb_per_s:>8.2f}{torch_us:>10.2f}{speedup:>8.2f}x".format(
                    **figures
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
