#!/usr/bin/env python3
"""Time the ops of this package on a GPU beside torch's best and FlashInfer's, as shares of what the GPU can do.

    python benchmarks/gpu_kernels.py [--op NAME] [--update-docs]

Each call is timed alone, by events, after something else has filled the caches; a figure is the median of them. The
peaks are measured in the same run: the rate at which torch copies 1 GiB, and that of its 8,192 x 8,192 products.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from docs_section import with_section
from gpu_kernel_rows import FAMILIES, FP8, Bench, Row, Sizes

from vllm import kernels
from vllm.kernels import companion

PAGE = Path(__file__).resolve().parents[1] / "docs" / "gpu.md"
BEGIN, END = "<!-- figures of benchmarks/gpu_kernels.py -->\n", "<!-- end of figures -->\n"
FLUSH_BYTES = 256 << 20  # more than any second-level cache holds
COPY_BYTES = 1 << 30
WIDTH = 8192
# What a GPU cannot do, and an op that a build does not have.
UNAVAILABLE = (RuntimeError, AttributeError)
HEAD = ("op", "shape", "us", "GB/s", "of the copy", "TFLOP/s", "of the product", "torch, us", "FlashInfer, us")


class Timer:
    def __init__(self, calls: int):
        self._calls = calls
        self._flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")

    def seconds(self, function: Callable[[], object]) -> float:
        """The median of the calls, after one that is not counted."""
        function()
        events = [tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) for _ in range(self._calls)]
        for begin, end in events:
            self._flush.zero_()
            begin.record()
            function()
            end.record()
        torch.cuda.synchronize()
        return statistics.median(begin.elapsed_time(end) for begin, end in events) / 1e3


def peaks(timer: Timer) -> dict[str, float]:
    """Bytes a second of a copy, operations a second of products; without a type that this GPU does not multiply."""
    source = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target, one = torch.empty_like(source), torch.ones(1, device="cuda")
    found = {"copy": 2 * COPY_BYTES / timer.seconds(lambda: target.copy_(source))}
    x = torch.randn(WIDTH, WIDTH, device="cuda").bfloat16()
    fp8, int8 = x.to(FP8), x.to(torch.int8)
    products: dict[str, Callable[[], object]] = {
        "bf16": lambda: x @ x.t(),
        "fp8": lambda: torch._scaled_mm(fp8, fp8.t(), one, one, out_dtype=torch.bfloat16),
        "int8": lambda: torch._int_mm(int8, int8.t()),
    }
    for name, product in products.items():
        try:
            found[name] = 2 * WIDTH**3 / timer.seconds(product)
        except RuntimeError as error:
            print(f"torch has no {name} product here: {first_line(error)}", file=sys.stderr)
    return found


def cells(row: Row, timer: Timer, peak: dict[str, float]) -> tuple[str, ...]:
    def microseconds(function: Callable[[], object] | None) -> str:
        """A dash, too, for what this GPU or build cannot do."""
        try:
            return "-" if function is None else f"{1e6 * timer.seconds(function):.1f}"
        except UNAVAILABLE as error:
            print(f"{row.op}, beside it: {first_line(error)}", file=sys.stderr)
            return "-"

    try:
        seconds = timer.seconds(row.ours)
    except UNAVAILABLE as error:
        print(f"{row.op}: {first_line(error)}", file=sys.stderr)
        return (row.op, row.shape, *"-----", microseconds(row.torch), microseconds(row.flashinfer))
    moved, done = row.bytes_moved / seconds, row.operations / seconds
    of_product = f"{100 * done / peak[row.peak]:.0f} %" if done and row.peak in peak else "-"
    return (
        row.op, row.shape, f"{1e6 * seconds:.1f}", f"{moved / 1e9:.0f}", f"{100 * moved / peak['copy']:.0f} %",
        f"{done / 1e12:.1f}" if done else "-", of_product, microseconds(row.torch), microseconds(row.flashinfer),
    )  # fmt: skip


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def rows(bench: Bench, wanted: str) -> Iterator[Row]:
    for family in FAMILIES:
        try:
            yield from (row for row in family(bench) if wanted in row.op)
        except UNAVAILABLE as error:
            print(f"{family.__name__}: {first_line(error)}", file=sys.stderr)
        torch.cuda.empty_cache()


def line(values: tuple[str, ...]) -> str:
    return "| " + " | ".join(values) + " |\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--op", default="", help="only ops whose name contains this")
    parser.add_argument("--calls", type=int, default=30, help="calls of a figure (%(default)s)")
    parser.add_argument("--update-docs", action="store_true", help="write the table into docs/gpu.md")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no GPU that the installed torch can use: run this where nvidia-smi lists one", file=sys.stderr)
        return 1
    kernels.load()
    if problem := companion.problem("_moe_C", "vllm=*=cuda*", "CUDA and ROCm"):
        print(problem, file=sys.stderr)
    timer = Timer(arguments.calls)
    peak = peaks(timer)
    limits = ", ".join(
        f"{name} {rate / (1e9 if name == 'copy' else 1e12):.0f} {'GB' if name == 'copy' else 'TFLOP'}/s"
        for name, rate in peak.items()
    )
    table = f"{torch.cuda.get_device_name()}, torch {torch.__version__}; peaks: {limits}\n\n"
    table += line(HEAD) + line(("---",) * len(HEAD))
    print(table, end="", flush=True)
    for row in rows(Bench("cuda", Sizes(), lambda namespace: getattr(torch.ops, namespace)), arguments.op):
        added = line(cells(row, timer, peak))
        print(added, end="", flush=True)
        table += added
    if arguments.update_docs:
        PAGE.write_text(with_section(PAGE.read_text(), BEGIN, END, table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
