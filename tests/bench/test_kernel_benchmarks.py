"""The benchmarks of single kernels and of a step's Python run to their last row; what they measure is not looked at."""

import re

import pytest

from support.benchmark import run_benchmark

LIMITS = ("--seconds", "0.01", "--memory", "30", "--compute", "300")


def test_linear() -> None:
    words = ("--model", "135m", "--layer", "o", "--rows", "1", "16", "--weights", "plain", "int8", "int4", "w8a8")
    printed = run_benchmark("linear.py", *words, *LIMITS)
    rows = re.findall(r"^135m (\w+) +(\w+) +(\d+) .*x$", printed, re.MULTILINE)
    kinds = [(kind, count) for kind in ("plain", "int8", "int4", "w8a8") for count in ("1", "16")]
    assert rows == [(layer, *kind) for layer in ("o", "down") for kind in kinds]


@pytest.mark.parametrize("cache", [(), ("--cache", "int8"), ("--cache", "fp8")], ids=["", "int8", "fp8"])
def test_attention(cache: tuple[str, ...]) -> None:
    printed = run_benchmark("attention.py", "--case", "135m", *cache, *LIMITS)
    assert re.findall(r"^(135m [a-z]+(?:, long)?) .*x$", printed, re.MULTILINE) == [
        "135m decode",
        "135m decode, long",
        "135m prefill",
    ]


def test_step_overhead() -> None:
    printed = run_benchmark("step_overhead.py", "--batch", "4", "--steps", "8")
    assert re.fullmatch(r"4 sequences: median \d+ us a step, fastest tenth \d+ us, over 8 steps\n", printed)
