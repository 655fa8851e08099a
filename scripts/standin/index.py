"""pip's configured sources, read and downloaded from with unearth (pip's own rules, without its resolver)."""

from __future__ import annotations

import ast
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unearth import HashMismatchError, Link, Package, PackageFinder, TargetPython
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers.sync import PyPIClient

from standin.lock import Pin
from standin.target import PLATFORMS, PYTHON, Python
from tooling.errors import UserError

ATTEMPTS = 3


@dataclass(frozen=True)
class Sources:
    """Where pip would look, from its configuration files and its environment variables."""

    index_urls: tuple[str, ...]
    find_links: tuple[str, ...]
    trusted_hosts: tuple[str, ...] = ()
    certificates: str | None = None

    def describe(self) -> str:
        """For an error message; passwords in addresses are left out."""
        places = [re.sub(r"//[^/@]*@", "//", place) for place in self.index_urls + self.find_links]
        return ", ".join(places) or "no source at all"


def parse_pip_config(listing: str) -> dict[str, str]:
    """`pip config list` -> option: value. The environment goes before a command's section, that before [global]."""
    rank = {"global": 0, "install": 1, "download": 2, ":env:": 3}
    found: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        key, equals, value = line.partition("=")
        section, _, option = key.partition(".")
        if equals and section in rank and rank[section] >= found.get(option, (-1, ""))[0]:
            found[option] = (rank[section], str(ast.literal_eval(value)))
    return {option: value for option, (_, value) in found.items()}


def configured_sources(options: dict[str, str]) -> Sources:
    """The sources that pip's options name; without an index among them, pip's default one."""
    indexes = options.get("index-url", "").split() or [source["url"] for source in PackageFinder().sources]
    indexes += options.get("extra-index-url", "").split()
    if options.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        indexes = []
    return Sources(
        index_urls=tuple(indexes),
        find_links=tuple(os.path.expanduser(place) for place in options.get("find-links", "").split()),
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        certificates=options.get("cert"),
    )


def read_sources() -> Sources:
    """Ask pip for its configuration."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"pip's configuration cannot be read: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return configured_sources(parse_pip_config(done.stdout))


def make_finder(sources: Sources, platforms: tuple[str, ...] = PLATFORMS, python: Python = PYTHON) -> PackageFinder:
    """A finder over `sources` for wheels that run on `python`."""
    verify = ssl.create_default_context(cafile=sources.certificates) if sources.certificates else True
    client = PyPIClient(trusted_hosts=sources.trusted_hosts, verify=verify, timeout=60.0, follow_redirects=True)
    client.auth = MultiDomainBasicAuth(prompting=False, index_urls=sources.index_urls)
    return PackageFinder(
        client,
        index_urls=sources.index_urls,
        find_links=[place for place in sources.find_links if "://" in place or os.path.exists(place)],
        target_python=TargetPython(python.release, abis=list(python.abis), impl="cp", platforms=list(platforms)),
    )


Watch = Callable[[str, int, "int | None"], None]
"""Called with a file's name, the bytes that have arrived, and how many there will be where this is known."""


class Stopped(Exception):
    """Raised by a watcher to end a download."""


_places: dict[Path, threading.Lock] = {}


def once(place: Path) -> threading.Lock:
    """Held by the thread that downloads into `place`, so that no file is downloaded twice at a time."""
    return _places.setdefault(place, threading.Lock())


class Downloads:
    """Files fetched from pip's sources. Each gets its final name when it is whole and its hash was checked."""

    def __init__(
        self,
        folder: Path,
        sources: Sources,
        watch: Watch = lambda name, done, total: None,
        platforms: tuple[str, ...] = PLATFORMS,
        python: Python = PYTHON,
    ) -> None:
        """`watch` is told how much of a file has arrived; when it raises Stopped, the download is given up."""
        self.folder = folder
        self.sources = sources
        self.finder = make_finder(sources, platforms, python)
        self._watch = watch

    def fetch_pin(self, pin: Pin) -> Path:
        """The pinned file, looked up only when it is not there already."""
        place = self.folder / pin.sha256[:16]
        with once(place):
            return self._fetch_pin(pin, place)

    def _fetch_pin(self, pin: Pin, place: Path) -> Path:
        if place.is_dir():
            return next(place.iterdir())
        hashes = {"sha256": [pin.sha256]}
        links = [package.link for package in self.offers(pin.name) if package.version == pin.version]
        exact = [
            link for link in links if (link.hash_option or hashes).get("sha256", hashes["sha256"]) == hashes["sha256"]
        ]
        if not exact:
            found = f"other files of {pin.version} only" if links else f"no {pin.version}"
            raise UserError(
                f"pip's sources have {found} of {pin.name}: the file pinned in scripts/standin has sha256 "
                f"{pin.sha256[:12]}...; looked in {self.sources.describe()}"
            )
        return self.fetch(exact[0], place, hashes)

    def offers(self, name: str) -> list[Package]:
        """All files of a project that suit the machine and the Python, best first."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return list(self.finder.find_all_packages(name, allow_yanked=True))
            except Exception as error:  # whatever the client's transport raises
                if attempt == ATTEMPTS:
                    raise self._unreachable(name, error) from None
        raise AssertionError

    def fetch(self, link: Link, place: Path, hashes: dict[str, list[str]] | None = None) -> Path:
        """Download `link` into the folder `place`, which appears when the file is whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=self.folder) as scratch:
            target = Path(scratch) / "whole"
            target.mkdir()
            got = self._download(link, target, hashes)
            if got.parent != target:  # a file: link is not copied
                shutil.copy(got, target / got.name)
            os.replace(target, place)
        return place / link.filename

    def _download(self, link: Link, target: Path, hashes: dict[str, list[str]] | None) -> Path:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self.finder.download(link, target, hashes, self._report)
            except Stopped:
                raise UserError(f"the download of {link.filename} was stopped; run the command again") from None
            except HashMismatchError:
                raise UserError(
                    f"{link.filename} does not have the sha256 that it should have; run the command again, and if it "
                    f"stays so do not trust {link.redacted}"
                ) from None
            except OSError as error:
                raise UserError(f"{link.filename} cannot be written: {error.strerror} ({self.folder})") from None
            except Exception as error:  # whatever the client's transport raises
                if attempt == ATTEMPTS:
                    raise self._unreachable(link.filename, error) from None
        raise AssertionError

    def _report(self, link: Link, done: int, total: int | None) -> None:
        self._watch(link.filename, done, total)

    def _unreachable(self, what: str, error: Exception) -> UserError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return UserError(
            f"{what} cannot be fetched from pip's sources ({reason}); check the network and `pip config list` "
            f"(looked in {self.sources.describe()})"
        )
