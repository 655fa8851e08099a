"""Solves and installs environments, atomically: a finished one is a folder named after its key, and a link to it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tooling.checks import GB, require_disk
from tooling.errors import UserError
from tooling.failures import solver_reason
from tooling.layout import Layout, rattler_cache
from tooling.locks import in_use
from tooling.progress import Progress, Step

DISK_NEEDED = 1.5 * GB
USE_MARK = ".in-use"


async def solve(
    channels: list[str],
    specs: list[str],
    virtual_packages: list | None = None,
    platforms: list[str] | None = None,
) -> list:
    """Records that satisfy `specs`, from `channels` in order.

    Solves for this machine unless `virtual_packages` say what another has and `platforms` which packages it takes.
    """
    import rattler

    if virtual_packages is None:
        overrides = rattler.VirtualPackageOverrides.from_env()
        virtual_packages = rattler.VirtualPackage.detect(overrides)
    others = {"platforms": platforms} if platforms else {}
    return await rattler.solve(sources=channels, specs=specs, virtual_packages=virtual_packages, **others)


def current(layout: Layout, name: str, key: str) -> Path | None:
    """The environment `name` if it was made for `key`."""
    prefix = layout.environments / f"{name}-{key}"
    link = layout.environments / name
    return prefix if prefix.is_dir() and link.is_symlink() and os.readlink(link) == prefix.name else None


def install(layout: Layout, name: str, key: str, channels: list[str], specs: list[str], progress: Progress) -> Path:
    """Make environment `name` for `key` and return its prefix. Call with the layout's lock held, then `finish`."""
    import asyncio

    import rattler
    from rattler.exceptions import SolverError

    require_disk(layout.home, DISK_NEEDED, f"the {name} environment")
    with progress.step(f"Solving {' '.join(specs)}"):
        try:
            records = asyncio.run(solve(channels, specs))
        except SolverError as error:
            raise UserError(f"{' '.join(specs)} cannot be installed here: {solver_reason(error)}") from None
    for record in records:
        progress.log(f"{record.name.normalized} {record.version} {record.build} {record.channel}")
    prefix = layout.environments / f"{name}-{key}"
    unfinished = prefix.with_name(f".{prefix.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    with progress.step(f"Installing {len(records)} packages", total=len(records)) as step:
        asyncio.run(
            rattler.install(
                records,
                target_prefix=unfinished,
                alternative_target_prefix=prefix,
                cache_dir=rattler_cache(layout) / "pkgs",
                execute_link_scripts=False,
                reporter=_Reporter(step),
            )
        )
    shutil.rmtree(prefix, ignore_errors=True)
    unfinished.rename(prefix)
    return prefix


def finish(layout: Layout, name: str, prefix: Path) -> None:
    """Make `prefix` the current environment `name` and delete earlier ones that nothing runs in."""
    link = layout.environments / name
    new = link.with_name(f".{name}.link")
    new.unlink(missing_ok=True)
    new.symlink_to(prefix.name)
    os.replace(new, link)
    for other in [*layout.environments.glob(f"{name}-*"), *layout.environments.glob(f".{name}-*.new")]:
        if other != prefix and not in_use(other / USE_MARK):
            shutil.rmtree(other, ignore_errors=True)


def packages(prefix: Path) -> dict[str, str]:
    """Name and version of every package installed in `prefix`."""
    records = (json.loads(file.read_text()) for file in (prefix / "conda-meta").glob("*.json"))
    return {record["name"]: record["version"] for record in records}


class _Reporter:
    """Counts linked packages."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._names: list[str] = []

    def __getattr__(self, name: str):
        if name.startswith("on_"):
            return lambda *_: 0
        raise AttributeError(name)

    def on_link_start(self, operation: int, package_name: str) -> int:
        self._names.append(package_name)
        return len(self._names) - 1

    def on_link_complete(self, index: int) -> None:
        self._step.advance(text=self._names[index])
