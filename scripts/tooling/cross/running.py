"""Runs tests/kernels with the kernels of another CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tooling.cross.building import Build
from tooling.cross.targets import Cpu
from tooling.errors import UserError
from tooling.progress import Step

PLUGIN = ("-v", "-p", "cross.plugin", "-p", "no:cacheprovider")
HEADER = """\
| CPU | kernels | passed | failed | skipped | seconds |
|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Result:
    """How pytest ended on one CPU."""

    name: str
    isa: str
    passed: int
    failed: int
    skipped: int
    seconds: float

    def row(self) -> str:
        """A line of the table that HEADER begins."""
        cells = (self.name, self.isa, self.passed, self.failed, self.skipped, f"{self.seconds:.0f}")
        return f"| {' | '.join(map(str, cells))} |"


def run_tests(
    build: Build, emulator: Path, cpu: Cpu, arguments: list[str], step: Step, library: Path | None = None
) -> Result:
    """Run pytest with `arguments` (tests/kernels where they name no file); output from the first failure on is shown.

    Raises:
        UserError: pytest ended without having run a test.
    """
    root = build.layout.root
    environment = build.environment | {
        "VLLM_CROSS_RUNNER": json.dumps(build.runner_command(emulator, cpu, library)),
        "VLLM_CROSS_ISA": cpu.isa,
        "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}",
        "PYTHONSAFEPATH": "1",
    }
    named = any((root / argument.partition("::")[0]).exists() for argument in arguments)
    selected = arguments if named else ["tests/kernels", *arguments]
    started = time.monotonic()
    last = _follow([str(build.python), "-m", "pytest", *PLUGIN, *selected], root, environment, step)
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    name = f"{build.target.arch}:{cpu.name}"
    if not counts:
        raise UserError(f"no test ran on {name}: {last or 'pytest said nothing'}")
    failed = counts.get("failed", 0) + counts.get("error", 0)
    return Result(name, cpu.isa, counts.get("passed", 0), failed, counts.get("skipped", 0), time.monotonic() - started)


def _follow(command: list[str], folder: Path, environment: dict[str, str], step: Step) -> str:
    """The last line that the command writes."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    last, shown = "", False
    for line in process.stdout:
        step.log(line)
        last = line.strip() or last
        shown = shown or "= FAILURES =" in line or "= ERRORS =" in line
        if shown:
            print(line, end="")
        elif match := re.search(r"\[ *(\d+)%\]", line):
            step.update(float(match[1]), total=100.0)
    process.wait()
    return last
