"""Every library is for the platform that the package says."""

from __future__ import annotations

from collections.abc import Iterator

from tooling.package_checks.package import Package
from tooling.package_checks.registry import check

MACHINES = {
    "linux-64": ("EM_X86_64", True),
    "linux-aarch64": ("EM_AARCH64", True),
    "linux-ppc64le": ("EM_PPC64", True),
    "linux-s390x": ("EM_S390", False),
}
"""ELF machine and whether it is little-endian, by conda platform."""


@check("machine", "every library is for the package's platform")
def find(package: Package) -> Iterator[str]:
    """Libraries for another processor, and any library in a package for every platform."""
    expected = MACHINES.get(package.subdir)
    for library in package.libraries:
        if expected is None:
            yield f"{library.path} is an ELF file in a package for {package.subdir}"
        elif (library.machine, library.is_little_endian) != expected:
            yield f"{library.path} is for {library.machine}, the package for {package.subdir}"
