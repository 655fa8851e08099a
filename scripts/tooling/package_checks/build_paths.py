"""No file names a folder of the machine that built it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tooling.package_checks.elf import is_elf
from tooling.package_checks.package import Package
from tooling.package_checks.registry import check

BUILD_FOLDER = rb"[\w.+/@~-]*/(?:rattler-build_[\w.-]+|conda-bld)/[\w.+/@~-]*|[\w.+/@~-]*_env_placehold[\w.+/@~-]*"
"""Folders that rattler-build and conda-build make, wherever they lie."""

HOME_FOLDER = rb"(?<![\w.$}])/(?:home|root|tmp|Users|__w|builds)/[\w.+@~-]+/[\w.+/@~-]+"
"""A path at least three deep below a folder where people and machines build. Looked for in compiled files only: sources
may name /tmp for reasons of their own."""


@check("build paths", "no file names a folder of the build")
def find(package: Package) -> Iterator[str]:
    """Files that hold such a path, and files that an installer would have to patch with the environment's."""
    for entry in package.paths:
        if entry.get("prefix_placeholder"):
            yield f"{entry['_path']} holds the build environment's path"
    known = [re.escape(folder.encode()) for folder in package.build_folders if len(folder) > 4]
    anywhere = re.compile(b"|".join([BUILD_FOLDER, *known]))
    in_binaries = re.compile(b"|".join([BUILD_FOLDER, HOME_FOLDER, *known]))
    for path, file in _files(package):
        found = (in_binaries if is_elf(file) else anywhere).search(file.read_bytes())
        if found:
            yield f"{path} names {found[0][:120].decode(errors='replace')}"


def _files(package: Package) -> Iterator[tuple[str, Path]]:
    for file in sorted(package.folder.rglob("*")):
        if file.is_file() and not file.is_symlink():
            yield file.relative_to(package.folder).as_posix(), file
