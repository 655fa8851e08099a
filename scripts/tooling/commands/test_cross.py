"""scripts/test_cross [ARCH[:CPU] ...] [pytest arguments]: the kernels' tests on emulated CPUs, and a table of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tooling import testing
from tooling.activation import variables
from tooling.checks import require_writable
from tooling.cross import targets
from tooling.cross.building import Build
from tooling.cross.targets import Cpu, Target
from tooling.cross.toolchain import ensure_compiler, ensure_emulator
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.progress import Progress

USAGE = """usage: scripts/test_cross [--library FILE] [ARCH[:CPU] ...] [pytest arguments]
Cross-builds vllm's kernels and runs tests/kernels with them under qemu, without installing anything.
CPUs: {cpus}
--library FILE  test this _C.abi3.so (of one architecture) instead of building one"""


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
        counts = f"{self.passed:>6} | {self.failed:>6} | {self.skipped:>7} | {self.seconds:>5.0f}"
        return f"| {self.name:<16} | {self.isa:<9} | {counts} |"


HEADER = "| CPU              | kernels   | passed | failed | skipped | s     |\n| --- | --- | --- | --- | --- | --- |"


def main(arguments: list[str]) -> int:
    """Run the tests on every chosen CPU; 1 when any failed."""
    names = [argument for argument in arguments if targets.is_target(argument)]
    rest = [argument for argument in arguments if not targets.is_target(argument)]
    if {"-h", "--help"} & set(rest):
        print(USAGE.format(cpus=", ".join(f"{t.arch}:{c.name}" for t, c in targets.select([]))))
        return 0
    library = _take_library(rest)
    chosen = targets.select(names)
    if library and len({target.arch for target, _ in chosen}) > 1:
        raise UserError("--library is for one architecture: name it, e.g. scripts/test_cross --library FILE aarch64")
    layout = Layout.from_environment()
    require_writable(layout.home)
    progress = Progress(layout.new_log("test_cross"))
    environment, python = _environment(layout, progress)
    results = [_test(layout, progress, environment, python, *pair, library, rest) for pair in chosen]
    print(HEADER, *(result.row() for result in results), sep="\n")
    return int(any(result.failed for result in results))


def _take_library(arguments: list[str]) -> Path | None:
    if "--library" not in arguments:
        return None
    at = arguments.index("--library")
    file = Path(arguments[at + 1]).absolute() if at + 1 < len(arguments) else None
    del arguments[at : at + 2]
    if file is None or not file.is_file():
        raise UserError(f"--library takes a file, given {file or 'nothing'}")
    return file


def _environment(layout: Layout, progress: Progress) -> tuple[dict[str, str], Path]:
    """The test environment's variables and Python; VLLM_CROSS_PYTHON names another one that has what tests need."""
    if os.environ.get("VLLM_CROSS_PYTHON"):
        return dict(os.environ), Path(os.environ["VLLM_CROSS_PYTHON"])
    prefix = testing.ensure(layout, progress)
    return variables(prefix), prefix / "bin" / "python"


def _test(layout, progress, environment, python, target: Target, cpu: Cpu, library, arguments) -> Result:
    build = Build(
        layout, progress, target, cpu.baseline, ensure_compiler(layout, target, progress), python, environment
    )
    emulator = ensure_emulator(layout, target, progress)
    build.run(kernels=library is None)
    name = f"{target.arch}:{cpu.name}"
    runner = build.runner_command(emulator, cpu, library)
    paths = os.pathsep.join(map(str, (layout.root, layout.root / "tests")))
    variables_of_run = environment | {
        "VLLM_CROSS_RUNNER": json.dumps(runner),
        "VLLM_CROSS_ISA": cpu.isa,
        "PYTHONPATH": paths,
        "PYTHONSAFEPATH": "1",
    }
    selected = [] if any((layout.root / a.partition("::")[0]).exists() for a in arguments) else ["tests/kernels"]
    command = [str(python), "-m", "pytest", "-q", "-p", "cross.plugin", "-p", "no:cacheprovider", *selected, *arguments]
    started = time.monotonic()
    with progress.step(f"Testing the kernels on {name}") as step:
        last = _follow(command, layout.root, variables_of_run, step)
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    if not counts:
        raise UserError(f"pytest did not run on {name}: {last or 'no output'}; the log is {progress.log_file}")
    return Result(name, cpu.isa, counts.get("passed", 0), failed, counts.get("skipped", 0), time.monotonic() - started)


def _follow(command: list[str], folder: Path, environment: dict[str, str], step) -> str:
    """Run pytest, show its lines from the first failure on; its last line."""
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
