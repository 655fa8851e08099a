"""Builds a recipe in a lane and publishes its packages to the local channel.

Nothing appears in the channel before it is complete and tested. A package whose inputs (sources, recipe, variants, base
channel) have not changed since it was published is not built again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tooling import build_report, failures
from tooling.building import toolchains
from tooling.building.process import build_packages, keep_compile_record, keep_logs, test_packages
from tooling.building.repack import make_reproducible, source_time
from tooling.checks import GB, require_disk
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.package_checks import require_promises
from tooling.planning.lanes import host_platform, overrides, variant_files
from tooling.planning.pins import local_pins
from tooling.planning.recipes import Output, recipe_digest, render, target_platform
from tooling.progress import Progress

DISK_NEEDED = 3 * GB
"""Build, host and test environments of one recipe, with their packages."""


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
        """The file that says what was published for this job, from which inputs, and what it took."""
        return record_file(layout, self.recipe, self.lane)


def record_file(layout: Layout, recipe: str, lane: str) -> Path:
    """Where the last build of `recipe` in `lane` is recorded, as `last_build` reads it."""
    return layout.channel / "built" / f"{recipe}-{lane}.json"


def compile_record(layout: Layout, recipe: str, lane: str) -> Path:
    """A line of JSON for each compiler that the last build of `recipe` in `lane` ran: its time and its memory."""
    return layout.home / "records" / f"{recipe}-{lane}.jsonl"


def last_build(layout: Layout, recipe: str, lane: str) -> dict:
    """The last finished build, or nothing: key (of its inputs), files, sizes (bytes by file), seconds, tested; where
    something was compiled, compile_seconds (from the first compiler's start to the last one's end) and memory_kb.
    """
    try:
        return json.loads(record_file(layout, recipe, lane).read_text())
    except (OSError, ValueError):
        return {}


def is_published(layout: Layout, job: Job) -> bool:
    """Whether the channel holds the packages of `job`, built from the present inputs."""
    record = last_build(layout, job.recipe, job.lane)
    return record.get("key") == job.key(layout) and all((layout.channel / f).exists() for f in record["files"])


def build(layout: Layout, job: Job, progress: Progress) -> list[Path]:
    """Build, test and publish `job`; the published files. Call with the layout's lock held."""
    pins = overrides(layout.root, job.lane) | local_pins(layout.root, job.lane, job.base)
    outputs = render(layout.root, job.recipe, job.lane, pins)
    toolchains.require(layout.root, job.lane, channel_urls(layout, job.base), outputs)
    require_disk(layout.home, DISK_NEEDED, f"building {job.recipe}")
    shutil.rmtree(layout.work, ignore_errors=True)
    work = layout.work / f"{job.recipe}-{job.lane}"
    work.mkdir(parents=True)
    key = job.key(layout)
    started = time.monotonic()
    untested = toolchains.why_untestable(layout.root, job.lane, channel_urls(layout, job.base), outputs)
    with progress.step(f"Building {job.recipe} ({', '.join(output.build for output in outputs)})") as step:
        error = build_packages(layout, _request(layout, job, pins, work), work, step)
        keep_logs(work, progress)
        compiled = keep_compile_record(work, compile_record(layout, job.recipe, job.lane))
        if compiled:
            _draw(layout, job, progress)
        if error:
            raise failures.explain(layout, job, pins, work, error, progress)
        made = _finish(layout, work, outputs)
        with ThreadPoolExecutor(1) as beside:
            checked = beside.submit(require_promises, made, (str(work), str(layout.home), str(layout.root)))
            failed = "" if untested else test_packages(layout, made, channel_urls(layout, job.base), work, step)
            checked.result()
        if failed:
            raise failures.failed_test(layout, job, outputs, work, failed, progress)
    if untested:
        progress.say(f"{job.recipe} in lane {job.lane}: built, its package tests were not run: {untested}")
    sizes = {f"{package.parent.name}/{package.name}": package.stat().st_size for package in made}
    files = publish(layout, made)
    record = {"key": key, "files": files, "sizes": sizes, "seconds": round(time.monotonic() - started, 1)}
    record |= _measured(layout, job) if compiled else {}
    _write_atomically(job.record(layout), json.dumps(record | {"tested": not untested}))
    shutil.rmtree(layout.work, ignore_errors=True)
    return [layout.channel / file for file in files]


def _request(layout: Layout, job: Job, pins: dict[str, list[str]], work: Path) -> dict:
    """What the build's process is told."""
    return {
        "recipe": str(layout.root / "recipes" / job.recipe / "recipe.yaml"),
        "variants": list(map(str, variant_files(layout.root, job.lane))),
        "pins": pins,
        "target_platform": target_platform(layout.root, job.lane),
        "build_platform": host_platform(),
        "channels": channel_urls(layout, job.base),
        "output": str(work),
    }


def _draw(layout: Layout, job: Job, progress: Progress) -> None:
    """Write the page that shows what was compiled when. A build does not fail for want of its picture."""
    record = compile_record(layout, job.recipe, job.lane)
    try:
        page = build_report.write(record, record.with_suffix(".html"), f"{job.recipe} in lane {job.lane}")
        progress.say(f"what was compiled when: {page}")
    except UserError as error:
        progress.say(f"no picture of the build: {error}")


def _measured(layout: Layout, job: Job) -> dict:
    """What the compilers of the build took together; nothing where their record cannot be read."""
    try:
        totals = build_report.totals(build_report.read(compile_record(layout, job.recipe, job.lane)))
    except UserError:
        return {}
    return {"compile_seconds": round(totals.seconds, 1), "memory_kb": totals.memory_kb}


def _finish(layout: Layout, work: Path, outputs: list[Output]) -> list[Path]:
    """The finished packages of a build in `work`, an indexed channel: the same bytes whenever and wherever built."""
    packages = [work / output.subdir / output.file_name for output in outputs]
    for package in packages:
        make_reproducible(package, source_time(layout.root))
    _index(work)
    return packages


def publish(layout: Layout, packages: list[Path]) -> list[str]:
    """Move finished packages into the channel and index it; their paths relative to it."""
    files = []
    for package in packages:
        target = layout.channel / package.parent.name / package.name
        target.parent.mkdir(parents=True, exist_ok=True)
        package.chmod(0o644)
        os.replace(package, target)
        files.append(f"{target.parent.name}/{target.name}")
    (layout.channel / "noarch").mkdir(parents=True, exist_ok=True)
    _index(layout.channel)
    return files


def _index(channel: Path) -> None:
    from rattler.index import index_fs

    asyncio.run(index_fs(channel, write_zst=False, write_shards=False, force=True))


def channel_urls(layout: Layout, base: str) -> list[str]:
    """Channels to solve from, best first: what is built here shadows the base channel's package of the same name."""
    local = [layout.channel.as_uri()] if (layout.channel / "noarch" / "repodata.json").exists() else []
    return [*local, base]


def _write_atomically(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(text)
    os.replace(temporary, file)
