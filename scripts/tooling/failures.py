"""Turns rattler-build's terse failures into one line that says what failed, why, and where the full log is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tooling.errors import UserError
from tooling.layout import Layout
from tooling.planning.lanes import NOARCH, host_platform
from tooling.planning.recipes import Output, render, target_platform
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
    progress.log(message)
    return _failed(job, reason, progress)


def failed_test(
    layout: Layout, job: Job, outputs: list[Output], work: Path, output: str, progress: Progress
) -> UserError:
    """The error to raise for a package test of `job`, whose packages are in `work`, that wrote `output` and failed."""
    if "failed to setup test environment" in output:
        reason = _uninstallable(layout, job, outputs, work)
        return _failed(job, f"a package cannot be installed to be tested: {reason or first_error(output)}", progress)
    return _failed(job, f"a package test failed: {first_error(output)}", progress)


def _failed(job: Job, reason: str, progress: Progress) -> UserError:
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


def _uninstallable(layout: Layout, job: Job, outputs: list[Output], work: Path) -> str | None:
    """The solver's own words about the first built package of `job` that does not install."""
    from tooling.building.builder import channel_urls

    channels = [work.as_uri(), *channel_urls(layout, job.base)]
    refusals = (_refusal(channels, [f"{output.name} =={output.version} {output.build}"]) for output in outputs)
    return next(filter(None, refusals), None)


def _unsolvable(layout: Layout, job: Job, pins: dict[str, list[str]]) -> str | None:
    """The solver's own words about the first environment of `job` that has no solution."""
    from tooling.building.builder import channel_urls

    target = target_platform(layout.root, job.lane)
    for output in render(layout.root, job.recipe, job.lane, pins):
        for section, specs in output.requirements.items():
            platforms = [host_platform() if section == "build" else target, NOARCH]
            refusal = _refusal(channel_urls(layout, job.base), specs, platforms=platforms)
            if refusal:
                return f"its {section} environment has no solution: {refusal}"
    return None


def _refusal(channels: list[str], specs: list[str], **where) -> str | None:
    """Why `specs` have no solution from `channels`; None where they have one. `where` is as in `solve`."""
    import asyncio

    from rattler.exceptions import SolverError

    from tooling.installing.environments import solve

    try:
        asyncio.run(solve(channels, specs, **where))
    except SolverError as error:
        return solver_reason(error)
    return None
