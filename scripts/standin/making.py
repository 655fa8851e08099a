"""One run that makes the channel: fetches, builds what the store lacks, and publishes the result in one step."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from standin import catalogue, group_plan, plan
from standin.apt import Apt
from standin.builder import VARIANTS, Job, render
from standin.groups import HOST, Group
from standin.index import Downloads, Stopped, read_sources
from standin.schedule import Board, Workers, run
from standin.store import DIGEST_LENGTH, Store, Unit, key_of
from standin.target import Python, platforms
from tooling.errors import UserError
from tooling.progress import Progress

SUBDIRS = ("linux-64", "noarch")
CHANNELS_KEPT = 3
"""Of each set of groups."""
SHOWN_FROM = 8e6
"""Bytes from which on a download is worth showing."""


class Making:
    """`growing` is the channel that builds solve from; it gains each package as it is finished."""

    def __init__(self, home: Path, progress: Progress, groups: Sequence[Group] = ()) -> None:
        self.home = home
        self.groups = [instance for group in groups for instance in group.instances()]
        self.planned = catalogue.planned(self.groups)
        self.progress = progress
        self.store = Store(home / "packages")
        self.growing = home / "growing"
        self.work = home / "work"
        self.engine = f"rattler-build {version('py-rattler-build')}, {VARIANTS.read_text()}"
        self.made_with: dict[str, list[str]] = {}
        self.runs_with: dict[str, list[str]] = {}
        self.keys: dict[str, str] = {}
        self.stopped = False
        self.subdirs = sorted({*SUBDIRS, *(group.target for group in groups)})
        self.records: dict[str, dict] = {subdir: {} for subdir in self.subdirs}

    def run(self, only: frozenset[str] = frozenset()) -> None:
        """Fetch, then build every package, or those of `only` and what they need."""
        names = frozenset(self.planned)
        if only - names:
            raise UserError(
                f"the stand-in channel has no {', '.join(sorted(only - names))}; see python -m standin --list"
            )
        self._start()
        jobs = min(2, os.cpu_count() or 1)
        self.workers = Workers(jobs)
        try:
            title = "Building the stand-in channel" if not only else f"Building {', '.join(sorted(only))}"
            with self.progress.step(title, total=None if only else len(names)) as step:
                self.step = step
                run(self._fetches(), Board(names), self._needs, self._build, self._done, jobs, only)
        finally:
            self.stopped = True
            self.workers.stop()
            shutil.rmtree(self.work / "render", ignore_errors=True)

    def publish(self, channel: Path) -> None:
        """Index what was built and give it its final name; forget packages that no channel holds any more."""
        with self.progress.step("Indexing the stand-in channel"):
            asyncio.run(_index(self.growing))
        os.replace(self.growing, channel)
        shutil.rmtree(self.work, ignore_errors=True)
        like = f"{channel.name.rpartition('-')[0]}-{'?' * DIGEST_LENGTH}"
        channels = sorted(self.home.glob(like), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for old in channels[CHANNELS_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        self.store.prune()

    def files(self, names: frozenset[str]) -> list[Path]:
        """The finished packages of `names`."""
        entries = [(self._finished(name), self._entry(name)) for name in sorted(names)]
        return [folder / entry["subdir"] / entry["file"] for folder, entry in entries]

    def _start(self) -> None:
        for folder in (self.growing, self.work):
            shutil.rmtree(folder, ignore_errors=True)
        for subdir in self.subdirs:
            (self.growing / subdir).mkdir(parents=True)
            self._write_repodata(subdir)

    def _fetches(self) -> list:
        """torch first: it is the largest download and the longest build."""
        downloads = Downloads(self.home / "wheels", read_sources(), self._watch)
        apt = Apt(self.home / "apt")
        return [
            partial(plan.fetch_debs, apt),
            partial(plan.fetch_torch, downloads),
            partial(plan.fetch_highway, downloads),
            *(partial(plan.fetch_wheel, downloads, pin) for pin in plan.pinned_wheels()),
            *(fetch for group in self.groups for fetch in self._group_fetches(group, apt, downloads)),
        ]

    def _group_fetches(self, group: Group, apt: Apt, torch: Downloads) -> list[plan.Fetch]:
        downloads = torch
        if group.wheels:
            place = platforms(group.machine), Python(group.python)
            downloads = Downloads(torch.folder, torch.sources, self._watch, *place)
        return group_plan.fetches(group, apt, downloads, torch)

    def _watch(self, name: str, done: int, total: int | None) -> None:
        """Show how far a large download is. Called from the downloads' threads."""
        if self.stopped:
            raise Stopped
        if done > SHOWN_FROM:
            size = f"{done / 1e6:.0f}" + (f" of {total / 1e6:.0f}" if total else "")
            self.step.update(text=f"downloading {name.partition('-')[0]}, {size} MB")

    def _needs(self, unit: Unit) -> list[str]:
        """The id of every unit that must be in the channel before this one can be built and tested, as far as known.

        What it needs has needs of its own, and its group may have them for another Python than the default packages do.
        """
        if unit.id not in self.made_with:
            self._read_requirements(unit)
        found = set(self.made_with[unit.id])
        waiting = [unit.id]
        while waiting:
            new = set(self._providers(unit, self.runs_with.get(waiting.pop(), []), unit.platform)) - found
            found |= new
            waiting += new
        return sorted(found)

    def _read_requirements(self, unit: Unit) -> None:
        """Note what the unit is made with, as ids, and what it runs with, as match specs."""
        folder = self.work / "render" / unit.id
        recipe = render(unit.stage(folder), unit.context, unit.platform).recipe.to_dict()
        requirements = recipe.get("requirements", {})
        run = list(requirements.get("run", []))
        for test in recipe.get("tests", []):
            run += (test.get("requirements") or {}).get("run", [])
        self.runs_with[unit.id] = run
        build = self._providers(unit, requirements.get("build", []), HOST)
        self.made_with[unit.id] = build + self._providers(unit, requirements.get("host", []), unit.platform)

    def _providers(self, unit: Unit, specs: list[str], platform: str) -> list[str]:
        names = (spec.split()[0] for spec in specs)
        return [found for name in names for found in catalogue.provider(name, platform, unit.group, self.planned)]

    def _build(self, unit: Unit) -> None:
        """Build the unit unless the store has it. Runs in a thread of the scheduler."""
        names = [name for name in self.made_with[unit.id] if name in self.keys]
        key = key_of(unit, [(name, self.keys[name]) for name in names], self.engine)
        if self.store.find(unit.id, key) is None:
            work = self.work / unit.id
            self.store.add(unit.id, key, self.workers.build(Job(unit, self.growing.as_uri(), work)))
            shutil.rmtree(work, ignore_errors=True)
        self.keys[unit.id] = key

    def _done(self, unit: Unit) -> None:
        """Put a finished package into the growing channel."""
        entry = self._entry(unit.id)
        subdir, file = entry["subdir"], entry["file"]
        _link(self._finished(unit.id) / subdir / file, self.growing / subdir / file)
        self.records[subdir][file] = entry["record"]
        self._write_repodata(subdir)
        self.step.advance(text=unit.id)

    def _finished(self, name: str) -> Path:
        return self.store.find(name, self.keys[name])

    def _entry(self, name: str) -> dict:
        return json.loads((self._finished(name) / "record.json").read_text())

    def _write_repodata(self, subdir: str) -> None:
        """Replace a subdir's repodata in one step: a build may be reading it."""
        content = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": self.records[subdir]}
        new = self.growing / subdir / ".repodata.json"
        new.write_text(json.dumps({**content, "repodata_version": 1}))
        os.replace(new, self.growing / subdir / "repodata.json")


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system knows none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


async def _index(channel: Path) -> None:
    from rattler.index import index_fs

    await index_fs(channel, write_zst=True, write_shards=True)
