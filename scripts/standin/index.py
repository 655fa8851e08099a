"""pip's configured sources, read and downloaded from with unearth (pip's own rules, without its resolver)."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from unearth import HashMismatchError, Link, Package, PackageFinder, TargetPython, UnpackError
from unearth.fetchers.sync import PyPIClient

from tooling.errors import UserError

PYTHON = (3, 11)
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
"""What runs on Debian 12, whichever Python and machine this code itself runs on."""


@dataclass(frozen=True)
class Sources:
    """Where pip would look, from its configuration files and its environment variables."""

    index_urls: tuple[str, ...]
    find_links: tuple[str, ...]
    trusted_hosts: tuple[str, ...]
    certificates: str | None

    def describe(self) -> str:
        """For an error message; passwords in addresses are left out."""
        places = [re.sub(r"//[^/@]*@", "//", place) for place in self.index_urls + self.find_links]
        return ", ".join(places) or "none"


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
    indexes = options.get("index-url", "").split()
    if not indexes:
        indexes = [source["url"] for source in PackageFinder().sources]
    if options.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        indexes = []
    else:
        indexes += options.get("extra-index-url", "").split()
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


def make_finder(sources: Sources) -> PackageFinder:
    """A finder over `sources` for wheels that run on the stand-in's Python."""
    import ssl

    verify = ssl.create_default_context(cafile=sources.certificates) if sources.certificates else True
    links = [place for place in sources.find_links if "://" in place or os.path.exists(place)]
    return PackageFinder(
        PyPIClient(trusted_hosts=sources.trusted_hosts, verify=verify, timeout=60.0, follow_redirects=True),
        index_urls=sources.index_urls,
        find_links=links,
        target_python=TargetPython(PYTHON, abis=["cp311", "abi3", "none"], impl="cp", platforms=PLATFORMS),
    )


@dataclass(frozen=True)
class Pin:
    """One line of the lock: exactly this file."""

    name: str
    version: str
    sha256: str


def read_lock(text: str) -> list[Pin]:
    """Read NAME==VERSION --hash=sha256:DIGEST lines (the format of a pip requirements file)."""
    pattern = re.compile(r"^([\w.-]+)==(\S+) --hash=sha256:([0-9a-f]{64})$")
    pins = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = pattern.match(line)
        if match is None:
            raise UserError(f"lock line {number} is not NAME==VERSION --hash=sha256:DIGEST: {line}")
        pins.append(Pin(*match.groups()))
    return pins


class Downloads:
    """Files fetched from pip's sources; each gets its final name once it is whole and its hash was checked."""

    def __init__(self, folder: Path, sources: Sources, finder: PackageFinder | None = None) -> None:
        self.folder = folder
        self.sources = sources
        self.finder = finder or make_finder(sources)

    def fetch_pin(self, pin: Pin) -> Path:
        """The pinned file. It is looked up only when it is not there already."""
        place = self.folder / pin.sha256[:16]
        done = next(place.iterdir(), None) if place.is_dir() else None
        if done is not None:
            return done
        hashes = {"sha256": [pin.sha256]}
        requirement = f"{pin.name}=={pin.version}"
        try:
            matches = list(self.finder.find_all_packages(pin.name, allow_yanked=True, hashes=None))
        except Exception as error:
            raise self._unreachable(pin.name, error) from None
        same = [package for package in matches if package.version == pin.version]
        exact = [package for package in same if (package.link.hash_option or hashes).get("sha256") == hashes["sha256"]]
        if not exact:
            found = f"only other files of version {pin.version}" if same else f"{len(matches)} other files"
            raise UserError(
                f"pip's sources do not have {requirement} with sha256 {pin.sha256[:12]}... (they have {found}); "
                f"looked in {self.sources.describe()}"
            )
        return self.fetch(exact[0].link, place, hashes)

    def fetch(self, link: Link, place: Path, hashes: dict[str, list[str]] | None = None) -> Path:
        """Download `link` into the folder `place`, which appears when the file is whole."""
        import shutil
        import tempfile

        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=self.folder) as scratch:
            target = Path(scratch) / "new"
            target.mkdir()
            try:
                got = self.finder.download(link, target, hashes)
            except HashMismatchError:
                raise UserError(
                    f"{link.filename} does not have the hash it should have; run the command again, and if it stays so "
                    f"distrust the source {link.redacted}"
                ) from None
            except OSError as error:
                raise UserError(f"{link.filename} cannot be written to {self.folder}: {error.strerror}") from None
            except (UnpackError, Exception) as error:
                raise self._unreachable(link.filename, error) from None
            if got.parent != target:  # a file:// link is used where it lies
                shutil.copy(got, target / got.name)
            os.replace(target, place)
        return place / link.filename

    def _unreachable(self, what: str, error: Exception) -> UserError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return UserError(
            f"{what} cannot be fetched from pip's sources ({reason}); check the network and `pip config list` "
            f"(looked in {self.sources.describe()})"
        )


def version_of(package: Package) -> str:
    """A package's version; links without one are not offered by a finder."""
    return package.version or "0"
