"""benchmarks/ngram.py: what it says of a run, whose answers it compares with those without drafts."""

import os
import re
import subprocess
import sys
from pathlib import Path

from support.checkout import ROOT


def test_rates_and_the_share_of_accepted_tokens(tiny_model: Path) -> None:
    words = ["--model", str(tiny_model), "--requests", "2", "--input-len", "48", "--output-len", "32", "--rounds", "1"]
    # As scripts/run starts a script: with its own folder on the path.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "ngram.py", *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    figures = re.fullmatch(
        r"2 requests: [\d.]+ tokens a second, [\d.]+ with drafts of 4 \([\d.]+x\); (\d+)% of (\d+) drafted .*\n",
        done.stdout,
    )
    assert figures is not None, done.stdout
    share, drafted = map(int, figures.groups())
    assert 0 <= share <= 100 and drafted > 0
