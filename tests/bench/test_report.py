"""The arithmetic of the reports, and how they are written."""

import json
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm.entrypoints.cli.bench.client import Outcome
from vllm.entrypoints.cli.bench.report import check_writable, percentile, summarize, write_json
from vllm.entrypoints.cli.registry import UsageError


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles_are_numpys(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == pytest.approx(numpy.percentile(values, percent), abs=1e-6)


def test_summary_of_known_values() -> None:
    summary = summarize([1.0, 2.0, 3.0, 10.0], (50, 99.9))
    assert summary["mean"] == 4.0
    assert summary["median"] == summary["p50"] == 2.5
    assert summary["std"] == pytest.approx(numpy.std([1, 2, 3, 10]))
    assert set(summary) == {"mean", "median", "std", "p50", "p99.9"}


def test_nothing_measured_is_zero() -> None:
    assert summarize([], (99,)) == {"mean": 0.0, "median": 0.0, "std": 0.0, "p99": 0.0}


def test_time_per_token_leaves_out_the_first() -> None:
    assert Outcome(output_tokens=5, ttft=1.0, latency=3.0).tpot == 0.5
    assert Outcome(output_tokens=1, ttft=1.0, latency=1.0).tpot == 0.0


def test_json_replaces_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    write_json(str(path), {"a": 1.5})
    assert json.loads(path.read_text()) == {"a": 1.5}
    assert list(tmp_path.iterdir()) == [path]


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_json(str(path), {"a": object()})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing/result.json", "."])
def test_an_unwritable_file_is_refused_before_measuring(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--output-json"):
        check_writable(str(tmp_path / name))
