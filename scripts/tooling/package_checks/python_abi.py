"""One build serves every Python: no library knows Python's C interface."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tooling.package_checks.package import Package
from tooling.package_checks.registry import check

PYTHON_LIBRARY = re.compile(r"libpython[\d.]*\w*\.(so|dylib)")
PYTHON_SYMBOL = re.compile(r"_?Py(_|[A-Z])\w*$")


@check("python", "no library links or calls Python")
def find(package: Package) -> Iterator[str]:
    """libpython among what is loaded, and symbols of Python's C interface among what is called."""
    for library in package.libraries:
        for needed in filter(PYTHON_LIBRARY.match, library.needed):
            yield f"{library.path} links {needed}"
        symbols = sorted(filter(PYTHON_SYMBOL.match, library.undefined))
        if symbols:
            yield f"{library.path} calls {', '.join(symbols[:3])}{' ...' if len(symbols) > 3 else ''}"
    tied = [spec for spec in package.index.get("depends", []) if spec.startswith("python_abi")]
    if tied and package.libraries:
        yield f"depends on {tied[0]}"
