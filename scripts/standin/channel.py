"""The channel as a whole: made once for each state of the tables and recipes, then found by its stamp."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from functools import partial
from importlib.metadata import version
from pathlib import Path

from standin.store import HERE, Store, Unit, key_of
from tooling.checks import require_disk
from tooling.locks import exclusive
from tooling.progress import Progress

DISK_NEEDED = 3.0e9
SUBDIRS = ("linux-64", "noarch")


def content_digest() -> str:
    """Changes with anything that the channel is made from or by, downloads that are not pinned aside."""
    result = hashlib.sha256()
    for path in sorted(HERE.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            result.update(f"\0{path.relative_to(HERE)}\0".encode() + path.read_bytes())
    return result.hexdigest()[:12]


def ensure_channel(cache_dir: Path, progress: Progress) -> Path:
    """The stand-in channel's folder, built under `cache_dir` unless it is there.

    An interrupted run leaves finished packages and downloads behind, and the next one goes on from them. Raises
    UserError, one line, when the machine lacks something.
    """
    home = Path(cache_dir) / "standin"
    channel = home / f"channel-{content_digest()}"
    if channel.is_dir():
        return channel
    with exclusive(home / "lock", progress):
        if not channel.is_dir():
            require_disk(home, DISK_NEEDED, "building the stand-in channel")
            os.environ.setdefault("RATTLER_CACHE_DIR", str(Path(cache_dir) / "rattler"))
            Making(home, progress).make(channel)
    return channel


class Making:
    """One run that makes the channel."""

    def __init__(self, home: Path, progress: Progress) -> None:
        self.home = home
        self.progress = progress
        self.store = Store(home / "packages")
        self.growing = home / "growing"
        self.keys: dict[str, str] = {}
        self.repodata: dict[str, dict] = {subdir: {} for subdir in SUBDIRS}
        self.engine = f"rattler-build {version('py-rattler-build')}"

    def make(self, channel: Path, only: frozenset[str] = frozenset()) -> None:
        """Build every package (or those of `only` and what they need) and index them as `channel`."""
        from standin.schedule import Board, Workers, run

        self._start()
        jobs = min(2, os.cpu_count() or 1)
        self.workers = Workers(jobs)
        names, fetches = self._plan()
        try:
            with self.progress.step("Building the stand-in channel", total=len(names)) as step:
                self.step = step
                run(fetches, Board(frozenset(names)), self._needs, self._build, self._done, jobs, only)
        finally:
            self.workers.stop()
        with self.progress.step("Indexing the stand-in channel"):
            asyncio.run(_index(self.growing))
        os.replace(self.growing, channel)
        shutil.rmtree(self.home / "work", ignore_errors=True)

    def _start(self) -> None:
        for folder in (self.growing, self.home / "work"):
            shutil.rmtree(folder, ignore_errors=True)
        for subdir in SUBDIRS:
            (self.growing / subdir).mkdir(parents=True)
            self._write_repodata(subdir)

    def _plan(self):
        from standin import plan
        from standin.apt import Apt
        from standin.index import Downloads, read_sources

        downloads = Downloads(self.home / "wheels", read_sources())
        fetches = [partial(plan.fetch_debs, Apt(self.home / "apt")), partial(plan.fetch_torch, downloads)]
        fetches += [partial(plan.fetch_wheel, downloads, pin) for pin in plan.pinned_wheels()]
        fetches.append(partial(plan.fetch_highway, downloads))
        return plan.package_names(), fetches

    def _needs(self, unit: Unit) -> list[str]:
        build, run = self._requirements(unit)
        return [*build, *run]

    def _requirements(self, unit: Unit) -> tuple[list[str], list[str]]:
        """Names that must be there to build the unit, and those that must be there to test it."""
        from standin.builder import render

        folder = self.home / "work" / "render" / unit.name
        shutil.rmtree(folder, ignore_errors=True)
        recipe = render(unit.stage(folder), unit.context).recipe.to_dict()
        requirements = recipe.get("requirements", {})
        build = [*requirements.get("build", []), *requirements.get("host", [])]
        run = list(requirements.get("run", []))
        for test in recipe.get("tests", []):
            run += (test.get("requirements") or {}).get("run", [])
        return [spec.split()[0] for spec in build], [spec.split()[0] for spec in run]

    def _build(self, unit: Unit) -> None:
        from standin.builder import Job

        build, _ = self._requirements(unit)
        key = key_of(unit, [(name, self.keys[name]) for name in build if name in self.keys], self.engine)
        if self.store.find(unit.name, key) is None:
            built = self.workers.build(Job(unit, self.growing.absolute().as_uri(), self.home / "work" / unit.name))
            self.store.add(unit.name, key, built)
            shutil.rmtree(self.home / "work" / unit.name, ignore_errors=True)
        self.keys[unit.name] = key

    def _done(self, unit: Unit) -> None:
        finished = self.store.find(unit.name, self.keys[unit.name])
        entry = json.loads((finished / "record.json").read_text())
        subdir, file = entry["subdir"], entry["file"]
        os.link(finished / subdir / file, self.growing / subdir / file)
        self.repodata[subdir][file] = entry["record"]
        self._write_repodata(subdir)
        self.step.advance(text=unit.name)

    def _write_repodata(self, subdir: str) -> None:
        """Replace a subdir's repodata in one step: a build may be reading it."""
        content = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": self.repodata[subdir], "repodata_version": 1}
        new = self.growing / subdir / ".repodata.json"
        new.write_text(json.dumps(content))
        os.replace(new, self.growing / subdir / "repodata.json")


async def _index(channel: Path) -> None:
    from rattler.index import index_fs

    await index_fs(channel, write_zst=True, write_shards=True)
