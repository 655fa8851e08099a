"""An unpacked package: its metadata, what its variant declares, and its libraries."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tooling.package_checks.archive import BadPackage, unpack
from tooling.package_checks.elf import Library, is_elf

SITE_PACKAGES = "lib/python3.99/site-packages"
"""Where the site-packages/ of a package for every Python comes to lie (CEP 20); any version has this depth."""


@dataclass(frozen=True)
class Package:
    """One package, unpacked into `folder`. `build_folders` are paths of the build, known only while it runs."""

    file: Path
    folder: Path
    build_folders: tuple[str, ...] = field(default=())

    @cached_property
    def index(self) -> dict:
        """info/index.json: name, version, build, subdir, depends, license."""
        return self._info("index.json")

    @cached_property
    def variant(self) -> dict:
        """info/hash_input.json: every variant key that the package was built with."""
        return self._info("hash_input.json", needed=False)

    @property
    def name(self) -> str:
        return str(self.index.get("name", ""))

    @property
    def lane(self) -> str:
        """The lane, from the variant; packages that no lane sets apart have none."""
        return str(self.variant.get("vllm_lane", ""))

    @property
    def subdir(self) -> str:
        return str(self.index.get("subdir", ""))

    @cached_property
    def paths(self) -> list[dict]:
        """Entries of info/paths.json."""
        return self._info("paths.json").get("paths", [])

    @cached_property
    def files(self) -> list[str]:
        """Every file and link, relative to the package's top; info/ is not among them."""
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if _is_leaf(path))
        return sorted(path for path in found if not path.startswith("info/"))

    @cached_property
    def libraries(self) -> list[Library]:
        """Every ELF file, programs included."""
        candidates = ((path, self.folder / path) for path in self.files)
        return [Library(path, file.read_bytes()) for path, file in candidates if not file.is_symlink() and is_elf(file)]

    def installed(self, path: str) -> str:
        """Where `path` lies in an environment, relative to its prefix."""
        top, _, rest = path.partition("/")
        return f"{SITE_PACKAGES}/{rest}" if top == "site-packages" else path

    def lower_bound(self, dependency: str) -> tuple[int, ...] | None:
        """The version X of a run dependency `dependency >=X`; None where there is no such dependency or bound."""
        bounds = []
        for spec in self.index.get("depends", []):
            name, _, constraint = str(spec).partition(" ")
            bound = re.search(r"(?:>=|==?|^)(\d+(?:\.\d+)*)", constraint)
            if name == dependency and bound:
                bounds.append(version_of(bound[1]))
        return max(bounds, default=None)

    def _info(self, name: str, needed: bool = True) -> dict:
        file = self.folder / "info" / name
        if not file.is_file():
            if needed:
                raise BadPackage(f"{self.file} has no info/{name}")
            return {}
        try:
            contents = json.loads(file.read_bytes())
        except ValueError as error:
            raise BadPackage(f"{self.file}: info/{name} is no JSON: {error}") from None
        if not isinstance(contents, dict):
            raise BadPackage(f"{self.file}: info/{name} is no JSON object")
        return contents


def version_of(text: str) -> tuple[int, ...]:
    """`2.17` as (2, 17)."""
    return tuple(int(part) for part in text.split("."))


def text_of(version: tuple[int, ...]) -> str:
    """(2, 17) as `2.17`."""
    return ".".join(map(str, version))


@contextmanager
def opened(file: Path, build_folders: tuple[str, ...] = ()) -> Iterator[Package]:
    """`file` unpacked into a temporary folder. BadPackage when it is no package."""
    with tempfile.TemporaryDirectory(prefix="check-package-") as folder:
        unpack(file, Path(folder))
        package = Package(file, Path(folder), build_folders)
        for needed in (package.index, package.paths):  # refuse now what every check would stumble over
            del needed
        yield package


def _is_leaf(path: Path) -> bool:
    return path.is_symlink() or path.is_file()
