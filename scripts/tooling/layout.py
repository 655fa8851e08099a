"""Where things are: the checkout, what is built from it, and what is shared between checkouts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


@dataclass(frozen=True)
class Layout:
    """Folders of one checkout.

    `root` holds the sources, `home` everything built from them, `cache` downloads and the stand-in channel, which do
    not depend on the checkout.
    """

    root: Path
    home: Path
    cache: Path

    @classmethod
    def from_environment(cls, root: Path = ROOT) -> Layout:
        """Read VLLM_RECIPES_HOME and XDG_CACHE_HOME; both have defaults."""
        home = Path(os.environ.get("VLLM_RECIPES_HOME") or root / "build").absolute()
        caches = os.environ.get("XDG_CACHE_HOME") or (Path.home() / ".cache" if os.environ.get("HOME") else home)
        return cls(root=root, home=home, cache=Path(caches).absolute() / "vllm-recipes")

    @property
    def channel(self) -> Path:
        """The local channel that finished packages are published to."""
        return self.home / "channel"

    @property
    def environments(self) -> Path:
        """Installed environments: `NAME-KEY` folders and a `NAME` link to the current one."""
        return self.home / "envs"

    @property
    def work(self) -> Path:
        """Unfinished builds; anything in it may be deleted while no build runs."""
        return self.home / "work"

    @property
    def lock(self) -> Path:
        """Held while anything under `home` changes."""
        return self.home / "lock"

    def new_log(self, command: str) -> Path:
        """A log file's path for one run of `command`."""
        return self.home / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}-{os.getpid()}.log"


def rattler_cache(layout: Layout) -> Path:
    """Cache of downloaded and extracted packages, exported so that every library used agrees on it."""
    os.environ.setdefault("RATTLER_CACHE_DIR", str(layout.cache / "rattler"))
    return Path(os.environ["RATTLER_CACHE_DIR"])
