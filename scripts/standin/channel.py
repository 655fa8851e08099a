"""Where the channel is, and when it is made: once for each state of this folder's tables, recipes and code."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from standin.groups import Group, groups_for
from standin.store import DIGEST_LENGTH
from tooling.checks import require_disk, require_unspaced
from tooling.errors import UserError
from tooling.locks import exclusive
from tooling.progress import Progress

if TYPE_CHECKING:
    from standin.making import Making

HERE = Path(__file__).parent
DISK_NEEDED = 3.5e9
"""Downloads 0.4 GB, packages 0.3 GB, their extracted copies 0.9 GB, and torch's build at its largest."""


def content_digest(groups: Iterable[Group] = ()) -> str:
    """Changes with anything that a channel is made from or by; which debs apt offers does not count."""
    result = hashlib.sha256()
    files = [path for path in HERE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files = [path for path in files if path.relative_to(HERE).parts[0] != "groups"]
    for path in sorted({*files, *(path for group in groups for path in group.files())}):
        result.update(f"\0{path.relative_to(HERE)}\0".encode() + path.read_bytes())
    return result.hexdigest()[:DIGEST_LENGTH]


def home_of(cache_dir: Path) -> Path:
    """The stand-in's folder in a cache."""
    return Path(cache_dir).absolute() / "standin"


def channel_of(cache_dir: Path, groups: Iterable[Group] = ()) -> Path:
    """Where the channel with `groups` is once it has been made."""
    groups = list(groups)
    return home_of(cache_dir) / "-".join(["channel", *(group.name for group in groups), content_digest(groups)])


def ensure_channel(cache_dir: Path, progress: Progress, packages: Iterable[str] = ()) -> Path:
    """The stand-in channel's folder, made under `cache_dir` unless it is there.

    `packages` are match specs of what will be asked of it (`cuda-nvcc_linux-64 13.0.*`): beside the default packages
    the channel holds the groups that have them. It need not have everything that they name.

    An interrupted run leaves finished packages and downloads behind, and the next one goes on from them. Raises
    UserError, one line, when the machine lacks something.
    """
    return channel_with(cache_dir, progress, groups_for(packages))


def channel_with(cache_dir: Path, progress: Progress, groups: Sequence[Group] = ()) -> Path:
    """The folder of the channel that holds `groups` beside the default packages, made unless it is there."""
    channel = channel_of(cache_dir, groups)
    if not channel.is_dir():
        with _home_locked(cache_dir, progress) as home:
            if not channel.is_dir():
                _make(home, progress, groups).publish(channel)
    return channel


def build_only(cache_dir: Path, names: frozenset[str], progress: Progress, groups: Sequence[Group] = ()) -> list[Path]:
    """Build the packages `names` and what they need; the files of `names`, in the store of finished packages."""
    with _home_locked(cache_dir, progress) as home:
        return _make(home, progress, groups, names).files(names)


@contextmanager
def _home_locked(cache_dir: Path, progress: Progress) -> Iterator[Path]:
    """The stand-in's folder, for one run at a time; what the file system refuses becomes one line."""
    home = home_of(cache_dir)
    try:
        with exclusive(home / "lock", progress):
            yield home
    except OSError as error:
        raise UserError(
            f"the stand-in channel cannot be written: {error.strerror} ({error.filename or home}); free some space, or "
            "set XDG_CACHE_HOME to another disk, and run the command again to go on"
        ) from None


def _make(home: Path, progress: Progress, groups: Sequence[Group], only: frozenset[str] = frozenset()) -> Making:
    """Build what is missing; the run, whose results have not been published."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise UserError(
            f"the stand-in channel is for x86_64 Linux, and this is {platform.machine()} {sys.platform}: "
            "make conda-forge reachable"
        )
    require_unspaced(home, "XDG_CACHE_HOME")
    require_disk(home, DISK_NEEDED, "building the stand-in channel")
    os.environ.setdefault("RATTLER_CACHE_DIR", str(home.parent / "rattler"))
    from standin.making import Making

    making = Making(home, progress, groups)
    making.run(only)
    return making
