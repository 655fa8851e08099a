"""benchmarks/ngram.py: what it says of a run, whose answers it compares with those without drafts."""

import re
from pathlib import Path

from support.benchmark import run_benchmark


def test_rates_and_the_share_of_accepted_tokens(tiny_model: Path) -> None:
    words = ["--model", str(tiny_model), "--requests", "2", "--input-len", "48", "--output-len", "32", "--rounds", "1"]
    printed = run_benchmark("ngram.py", *words)
    figures = re.fullmatch(
        r"2 requests: [\d.]+ tokens a second, [\d.]+ with drafts of 4 \([\d.]+x\); (\d+)% of (\d+) drafted .*\n",
        printed,
    )
    assert figures is not None, printed
    share, drafted = map(int, figures.groups())
    assert 0 <= share <= 100 and drafted > 0
