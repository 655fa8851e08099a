"""Libraries are searched for inside the environment, wherever that lies."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from tooling.package_checks.package import Package
from tooling.package_checks.registry import check

ORIGIN = ("$ORIGIN", "${ORIGIN}")


@check("rpath", "searches libraries by relative paths inside the environment")
def find(package: Package) -> Iterator[str]:
    """RPATH and RUNPATH entries that are absolute, empty or lead outside, and libraries linked by their path."""
    for library in package.libraries:
        folder = posixpath.dirname(package.installed(library.path))
        for entry in library.search_paths:
            start, _, rest = entry.partition("/")
            if start not in ORIGIN:
                yield f"{library.path} searches {entry or 'the current folder (an empty entry)'}; begin with $ORIGIN"
            elif posixpath.normpath(posixpath.join(folder, rest)).startswith(".."):
                yield f"{library.path} searches {entry}, which is outside of the environment"
        for needed in library.needed:
            if "/" in needed:
                yield f"{library.path} links {needed} by its path"
