"""Turns rattler-build's terse failures into one line that says what failed, why, and where the full log is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tooling.errors import UserError
from tooling.layout import Layout
from tooling.planning.lanes import NOARCH, host_platform
from tooling.planning.recipes import render, target_platform
from tooling.progress import Progress

if TYPE_CHECKING:
    from tooling.building.builder import Job

ERROR_LINE = re.compile(r"\b(error|Error|FAILED|fatal|No space left|Killed|AssertionError)\b[: ]")


def explain(
    layout: Layout, job: Job, pins: dict[str, list[str]], work: Path, message: str, progress: Progress
) -> UserError:
    """The error to raise for a build of `job` in `work` that ended with `message`."""
    reason = message.splitlines()[0]
    if "resolve dependencies" in message:
        reason = _unsolvable(layout, job, pins) or reason
    elif "Script failed" in message:
        reason = first_error(_logs(work, "**/work*/conda_build.log")) or reason
    elif "Test failed" in message:
        reason = f"a package test failed: {_test_output(work, job, progress)}"
    progress.log(message)
    return UserError(f"building {job.recipe} in lane {job.lane} failed: {reason}; the full log is {progress.log_file}")


def first_error(text: str) -> str:
    """The first line of a build log that reports an error, or its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("+")]
    return next((line for line in lines if ERROR_LINE.search(line)), lines[-1] if lines else "")


def solver_reason(error: Exception) -> str:
    """A solver's many lines as one."""
    return " ".join(re.sub(r"[│├└─▒]+", " ", str(error)).split())


def _logs(work: Path, pattern: str) -> str:
    return "\n".join(file.read_text(errors="replace") for file in work.glob(pattern))


def _test_output(work: Path, job: Job, progress: Progress) -> str:
    """Why a package test failed: from its log, or, for checks that write none, by running the tests once more."""
    from rattler_build import Package, RattlerBuildError

    error = first_error(_logs(work, "test/*/test/conda_build.log"))
    for file in work.glob("broken/*.conda"):
        package = Package.from_file(file)
        for index in range(package.test_count):
            try:
                result = package.run_test(index, channel=[work.as_uri(), job.base])
            except RattlerBuildError as problem:
                return first_error(str(problem)) or error
            for line in result.output:
                progress.log(line)
            if not result:
                return first_error("\n".join(result.output)) or error
    return error or "no output"


def _unsolvable(layout: Layout, job: Job, pins: dict[str, list[str]]) -> str | None:
    """The solver's own words about the first environment of `job` that has no solution."""
    import asyncio

    from rattler.exceptions import SolverError

    from tooling.building.builder import channel_urls
    from tooling.installing.environments import solve

    target = target_platform(layout.root, job.lane)
    for output in render(layout.root, job.recipe, job.lane, pins):
        for section, specs in output.requirements.items():
            platforms = [host_platform() if section == "build" else target, NOARCH]
            try:
                asyncio.run(solve(channel_urls(layout, job.base), specs, platforms=platforms))
            except SolverError as error:
                return f"its {section} environment has no solution: {solver_reason(error)}"
    return None
