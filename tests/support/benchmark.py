"""Running a script of benchmarks/ as its users do."""

import os
import subprocess
import sys

from support.checkout import ROOT


def run_benchmark(script: str, *words: str) -> str:
    """What it prints; it must succeed."""
    # As scripts/run starts a script: with its own folder on the path.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, ROOT / "benchmarks" / script, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
