"""The package runs on the oldest C and C++ library that it admits.

Versioned symbols say what is needed; the sysroot that the lane pins (c_stdlib_version) and the run dependencies say
what is promised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tooling.package_checks.elf import Library
from tooling.package_checks.package import Package, text_of, version_of
from tooling.package_checks.registry import check

GCC_OF_GLIBCXX = {
    21: (5, 1),
    22: (6, 1),
    23: (7, 1),
    24: (7, 2),
    25: (8, 1),
    26: (9, 1),
    27: (9, 2),
    28: (9, 3),
    29: (11, 1),
    30: (12, 1),
    31: (13, 1),
    32: (13, 2),
    33: (14, 1),
    34: (15, 1),
    35: (16, 1),
}
"""The gcc whose libstdc++ first had GLIBCXX_3.4.N ("ABI Policy and Guidelines" in libstdc++'s manual)."""


@check("glibc", "needs no glibc newer than its lane's sysroot and its own __glibc dependency")
def find_glibc(package: Package) -> Iterator[str]:
    """Symbols of a glibc that the package does not ask for."""
    pinned = str(package.variant.get("c_stdlib_version", "")) if package.variant.get("c_stdlib") == "sysroot" else ""
    promises = {"its lane's sysroot": version_of(pinned) if pinned else None, "__glibc": package.lower_bound("__glibc")}
    for library in package.libraries:
        name, version = _newest(library, "GLIBC")
        for what, promised in promises.items():
            if promised is not None and version > promised:
                yield f"{library.path} needs {name}; {what} is {text_of(promised)}"
        if version and promises["__glibc"] is None:
            yield f"{library.path} needs {name}; the package has no __glibc dependency"


@check("libstdc++", "needs no libstdc++ newer than the one it depends on")
def find_libstdcxx(package: Package) -> Iterator[str]:
    """Symbols of a libstdc++ that the run dependencies do not guarantee."""
    promised = package.lower_bound("libstdcxx")
    for library in package.libraries:
        name, version = _newest(library, "GLIBCXX")
        if not version:
            continue
        if promised is None:
            yield f"{library.path} needs {name}; the package does not depend on libstdcxx >=X"
            continue
        gcc = GCC_OF_GLIBCXX.get(version[2], (99,)) if version[:2] == (3, 4) and len(version) > 2 else (3, 4)
        if gcc > promised and version[2:] > (20,):
            yield f"{library.path} needs {name} (gcc {text_of(gcc)}); the package admits libstdcxx {text_of(promised)}"


def _newest(library: Library, family: str) -> tuple[str, tuple[int, ...]]:
    """Name and number of the newest version of `family` among the symbols needed; ("", ()) where there is none."""
    found = [("", ())]
    for _, name in library.versions:
        number = re.fullmatch(rf"{family}_(\d+(?:\.\d+)*)", name)
        if number:
            found.append((name, version_of(number[1])))
    return max(found, key=lambda pair: pair[1])
