"""Finished packages become a channel: a folder that any static file server can offer, or one on a package server.

Readers of a folder never see half of anything: a package has its name only when it is complete, and is there before the
index that names it; each index file replaces its predecessor in one step.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tooling.building.repack import EARLIEST, make_reproducible
from tooling.errors import UserError
from tooling.matrix_page import page

TOKEN = "VLLM_RECIPES_TOKEN"
"""The environment variable that holds the server's token."""

SERVERS = ("artifactory", "prefix", "quetz")
"""Kinds of package servers that rattler-build's client uploads to, by the name of its function for each."""

INDEX_ORDER = ("shards", "repodata_shards.msgpack.zst", "repodata.json.zst", "repodata.json")
"""What indexing makes in a subfolder, in the order in which it may appear: what is named before what names it."""


def place(package: Path, channel: Path) -> Path:
    """Copy `package` to its place in `channel`. A channel never changes the bytes behind a name that it has offered.

    What was there stays where only times differ: a package that no change touched is built again for every release.
    """
    target = channel / _subdir(package) / package.name
    if target.exists():
        if not _alike(target, package):
            raise UserError(f"{target} is there with other contents: raise build_number in the recipe and build again")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    shutil.copyfile(package, new)
    os.replace(new, target)
    return target


def index(channel: Path) -> None:
    """Write repodata in every form that clients ask for (whole, compressed, in shards), and the channel's page."""
    from rattler.index import index_fs

    # On the channel's own file system, so that packages can be linked in and index files renamed out.
    with tempfile.TemporaryDirectory(prefix=f".{channel.name}.", dir=channel.parent) as scratch:
        copy = Path(scratch)
        subdirs = sorted({"noarch", *(file.parent.name for file in channel.glob("*/*.conda"))})
        for subdir in subdirs:
            (copy / subdir).mkdir()
            for package in (channel / subdir).glob("*.conda"):
                os.link(package, copy / subdir / package.name)
        asyncio.run(index_fs(copy, write_zst=True, write_shards=True, force=True))
        for subdir in subdirs:
            (channel / subdir).mkdir(exist_ok=True)
            for name in INDEX_ORDER:
                _move(copy / subdir / name, channel / subdir / name)
    page.write(channel)


def upload(packages: list[Path], url: str, kind: str) -> None:
    """Send `packages` to the channel at `url`, SERVER/CHANNEL, of a package server; the token is in the environment."""
    from rattler_build import RattlerBuildError
    from rattler_build import upload as client

    token = os.environ.get(TOKEN)
    if not token:
        raise UserError(f"uploading to {url} needs a token: set {TOKEN} in the environment")
    server, _, channel = url.rstrip("/").rpartition("/")
    send = getattr(client, f"upload_package_to_{kind}")
    key = {"token": token} if kind == "artifactory" else {"api_key": token}
    try:
        send(list(map(str, packages)), server, channel, **key)
    except RattlerBuildError as error:
        reason = " ".join(str(error).split()).replace(token, "***")
        raise UserError(f"{url} did not take the packages: {reason}; check the address and {TOKEN}") from None


def _alike(offered: Path, package: Path) -> bool:
    """Whether two files are one package, built perhaps at two times."""
    if offered.read_bytes() == package.read_bytes():
        return True
    with tempfile.TemporaryDirectory() as scratch:
        copies = [Path(shutil.copy(file, f"{scratch}/{n}.conda")) for n, file in enumerate((offered, package))]
        try:
            for copy in copies:
                make_reproducible(copy, EARLIEST)
        except (zipfile.BadZipFile, tarfile.TarError, ValueError):
            return False
        return copies[0].read_bytes() == copies[1].read_bytes()


def _subdir(package: Path) -> str:
    from rattler import IndexJson
    from rattler.exceptions import ExtractError

    try:
        return IndexJson.from_package_archive(package).subdir
    except (ExtractError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{package} is not a complete package: {reason}; build it again") from None


def _move(made: Path, target: Path) -> None:
    """Put a finished file, or every file of a folder, under its final name."""
    if made.is_dir():
        target.mkdir(exist_ok=True)
        for file in made.iterdir():
            os.replace(file, target / file.name)
    elif made.exists():
        os.replace(made, target)
