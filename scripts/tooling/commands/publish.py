"""scripts/publish PACKAGES CHANNEL: finished packages become a channel that any static file server can offer."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from tooling.errors import UserError

USAGE = "scripts/publish PACKAGES CHANNEL (two folders)"


def main(arguments: list[str]) -> int:
    """Copy every .conda file below the first folder into the second one, and index that."""
    if arguments in (["-h"], ["--help"]):
        print(f"usage: {USAGE}")
        return 0
    if len(arguments) != 2:
        raise UserError(f"{len(arguments)} arguments were given: {USAGE}")
    packages, channel = map(Path, arguments)
    files = sorted(packages.rglob("*.conda")) if packages.is_dir() else []
    if not files:
        raise UserError(f"{packages} holds no .conda file: name the folder that packages were built or fetched into")
    placed = [place(file, channel) for file in files]
    index(channel)
    print(*(f"{file} ({file.stat().st_size / 1e6:.2f} MB)" for file in dict.fromkeys(placed)), sep="\n")
    return 0


def place(package: Path, channel: Path) -> Path:
    """Copy `package` to its place in `channel`. A channel never changes the bytes behind a name that it has offered."""
    from rattler import IndexJson
    from rattler.exceptions import ExtractError

    try:
        subdir = IndexJson.from_package_archive(package).subdir
    except (ExtractError, OSError, ValueError) as error:
        raise UserError(
            f"{package} is not a complete package: {' '.join(str(error).split())}; build it again"
        ) from None
    target = channel / subdir / package.name
    if target.exists():
        if target.read_bytes() != package.read_bytes():
            raise UserError(f"{target} is there with other contents: raise build_number in the recipe and build again")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    shutil.copyfile(package, new)
    os.replace(new, target)
    return target


def index(channel: Path) -> None:
    """Write repodata in every form that clients ask for: whole, compressed, and in shards."""
    from rattler.index import index_fs

    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    asyncio.run(index_fs(channel, write_zst=True, write_shards=True, force=True))
