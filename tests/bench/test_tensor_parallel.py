"""benchmarks/tensor_parallel.py: a row for each step, a column for each number of ranks."""

import re
from pathlib import Path

import pytest

from support.benchmark import run_benchmark
from support.models import save_model


def test_a_table_of_steps(tmp_path: Path) -> None:
    folder = save_model("llama", tmp_path)
    words = ["--sequences", "1", "3", "--input-len", "8", "--prefill", "40", "--rounds", "1"]
    head, _, *rows = run_benchmark("tensor_parallel.py", "--model", str(folder), *words).splitlines()
    assert head == "| milliseconds | 1 rank | 2 ranks |"
    cell = r"[\d.-]+ \([\d.-]+ to [\d.-]+\)"
    names = ("decode step of 1", "decode step of 3", "prefill of 40 tokens")
    for row, name in zip(rows, names, strict=True):
        assert re.fullmatch(rf"\| {name} \| {cell} \| {cell} \|", row), row


def test_an_engine_that_fails_ends_the_run(tmp_path: Path) -> None:
    folder = save_model("llama", tmp_path)
    words = ["--model", str(folder), "--ranks", "3", "--prefill", "40", "--rounds", "1"]
    with pytest.raises(AssertionError, match=r"^\d+ heads .* cannot be split .*\nan engine has failed; .*\n$"):
        run_benchmark("tensor_parallel.py", *words)
