"""scripts/test [pytest arguments]: every check that CI runs, or, with arguments, the tests that they select.

Every check: lint, CUDA kernels compiled for one architecture, pytest.
"""

from __future__ import annotations

import os
import shlex
import subprocess

from tooling import serving, testing
from tooling.checks import require_writable
from tooling.commands import lint
from tooling.installing.activation import variables
from tooling.layout import Layout
from tooling.one_architecture import LANE, compile_cuda
from tooling.progress import Progress

MOST_WORKERS = 4
"""Processes that run tests at a time, an engine in each: no more than memory is sure to hold."""


def at_once() -> list[str]:
    """pytest's arguments for all tests: a process for each of this machine's cores takes a file of them at a time.

    In their order: by the number of tests in a file, which is pytest-xdist's, the longest would come last.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ["-n", str(min(cores, MOST_WORKERS)), "--dist", "loadfile", "--no-loadscope-reorder"] if cores > 1 else []


def main(arguments: list[str]) -> int:
    """Set up what is missing, lint unless tests were selected, run pytest; its exit status, or lint's."""
    layout = Layout.from_environment()
    if "--dry-run" in arguments:
        arguments = [a for a in arguments if a != "--dry-run"]
        print(*serving.plan(layout), *(f"lint: {step}" for step in ([] if arguments else lint.plan())), sep="\n")
        if not arguments:
            print(f"compile: lane {LANE} for one architecture")
            arguments = at_once()
        print(f"install: the same packages and {testing.REQUIREMENTS} into {layout.environments / testing.NAME}")
        print(f"run: {shlex.join(['python', '-m', 'pytest', *arguments])}")
        return 0
    require_writable(layout.home)
    lint_status = 0 if arguments else lint.main([])
    progress = Progress(layout.new_log("test"))
    compiled = "" if arguments else compile_cuda(layout, progress)
    if compiled:
        progress.say(f"CUDA kernels for one architecture: {compiled}")
    prefix = testing.ensure(layout, progress)
    programs = testing.system_programs(layout, progress)
    environment = variables(prefix)
    # Tests see the installed vllm, never the checkout's folder of that name.
    environment |= {"PYTHONSAFEPATH": "1", "PATH": f"{environment['PATH']}{os.pathsep}{programs}"}
    # Threads that spin while they wait would take the cores from the other processes' tests.
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    command = [str(prefix / "bin" / "python"), "-m", "pytest", *(arguments or at_once())]
    return (
        subprocess.run(command, cwd=layout.root, env=environment).returncode
        or lint_status
        or int(compiled.startswith("failed"))
    )
