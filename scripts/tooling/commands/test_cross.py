"""scripts/test_cross [ARCH[:CPU] ...] [pytest arguments]: the kernels' tests on emulated CPUs, and a table of them."""

from __future__ import annotations

import os
from pathlib import Path

from tooling import testing
from tooling.checks import require_writable
from tooling.cross import targets
from tooling.cross.building import Build
from tooling.cross.running import HEADER, Result, run_tests
from tooling.cross.targets import Cpu
from tooling.cross.toolchain import ensure_compiler, ensure_emulator
from tooling.errors import UserError
from tooling.installing.activation import variables
from tooling.layout import Layout
from tooling.progress import Progress

USAGE = """usage: scripts/test_cross [--library FILE] [ARCH[:CPU] ...] [pytest arguments]

Builds vllm's kernels for other CPUs and runs tests/kernels with them under qemu; installs nothing.
CPUs: {cpus}
--library FILE  test this _C.abi3.so, of one architecture, instead of building one"""


def main(arguments: list[str]) -> int:
    """Run the tests on every chosen CPU; 1 when any failed."""
    names = [argument for argument in arguments if targets.is_target(argument)]
    rest = [argument for argument in arguments if not targets.is_target(argument)]
    if {"-h", "--help"} & set(rest):
        print(USAGE.format(cpus=", ".join(f"{target.arch}:{cpu.name}" for target, cpu in targets.select([]))))
        return 0
    library = _take_library(rest)
    chosen = targets.select(names)
    if library and len({target.arch for target, _ in chosen}) > 1:
        raise UserError("--library is for one architecture: name it, e.g. scripts/test_cross --library FILE aarch64")
    layout = Layout.from_environment()
    require_writable(layout.home)
    progress = Progress(layout.new_log("test_cross"))
    environment, python = _environment(layout, progress)
    results = []
    for target, cpu in chosen:
        compiler = ensure_compiler(layout, target, progress)
        build = Build(layout, progress, target, compiler, python, environment, cpu)
        results.append(_test(build, cpu, rest, library))
    print(HEADER, *(result.row() for result in results), sep="\n")
    return int(any(result.failed for result in results))


def _test(build: Build, cpu: Cpu, arguments: list[str], library: Path | None) -> Result:
    emulator = ensure_emulator(build.layout, build.target, build.progress)
    build.run(kernels=library is None)
    with build.progress.step(f"Testing the kernels on {build.target.arch}:{cpu.name}") as step:
        return run_tests(build, emulator, cpu, arguments, step, library)


def _take_library(arguments: list[str]) -> Path | None:
    """The file after --library, both removed from `arguments`."""
    if "--library" not in arguments:
        return None
    at = arguments.index("--library")
    file = Path(arguments[at + 1]).absolute() if at + 1 < len(arguments) else None
    del arguments[at : at + 2]
    if file is None or not file.is_file():
        raise UserError(f"--library takes the path of a _C.abi3.so, given {file or 'nothing'}")
    return file


def _environment(layout: Layout, progress: Progress) -> tuple[dict[str, str], Path]:
    """Variables and Python of the test environment, or this one's and VLLM_CROSS_PYTHON, which has what tests need."""
    if os.environ.get("VLLM_CROSS_PYTHON"):
        return dict(os.environ), Path(os.environ["VLLM_CROSS_PYTHON"])
    prefix = testing.ensure(layout, progress)
    return variables(prefix), prefix / "bin" / "python"
