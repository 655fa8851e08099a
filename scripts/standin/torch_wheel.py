"""Find a CPU build of torch among pip's sources without downloading the gigabytes of the other ones."""

from __future__ import annotations

import re
import shutil
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from packaging.version import Version
from unearth import Link, Package

from standin.index import Downloads, once
from tooling.errors import UserError

PREFERRED = Version("2.13.0")
OLDEST = Version("2.10")
GPU_REQUIREMENT = re.compile(r"(nvidia|cuda|triton|pytorch-triton|rocm|intel-cmplr|onemkl)", re.IGNORECASE)
CHECKED_BY_METADATA = 3
"""How many unlabelled versions, newest first, are asked for their requirements."""


def label_of(version: Version) -> str | None:
    """`cpu` or `gpu` by the local version (2.13.0+cpu, 2.13.0+cu130, +rocm7.0, +xpu); None where there is none."""
    if version.local is None:
        return None
    return "cpu" if version.local.startswith("cpu") else "gpu"


def is_cpu_build(metadata: str) -> bool:
    """Whether a wheel's METADATA requires nothing that only a GPU build needs."""
    requirements = HeaderParser().parsestr(metadata).get_all("Requires-Dist", [])
    return not any(GPU_REQUIREMENT.match(requirement) for requirement in requirements)


def read_metadata(wheel: Path) -> str:
    """The METADATA inside a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return archive.read(name).decode()


def link_metadata(downloads: Downloads, link: Link) -> str | None:
    """A link's METADATA where that takes no full download: a local file, or an index that serves it (PEP 658)."""
    if link.is_file:
        return read_metadata(link.file_path)
    if link.dist_info_link is None:
        return None
    response = downloads.finder.session.get(link.dist_info_link.normalized)
    return response.text if response.status_code == 200 else None


def choose_cpu_torch(downloads: Downloads) -> Package:
    """The preferred version if there is a CPU build of it, else the newest CPU build that is new enough."""
    offered = downloads.offers("torch")
    usable = [
        p for p in offered if p.link.is_wheel and not p.link.is_yanked and Version(p.version).release >= OLDEST.release
    ]
    usable.sort(key=lambda p: (Version(p.version).release == PREFERRED.release, Version(p.version)), reverse=True)
    labelled = [p for p in usable if label_of(Version(p.version)) == "cpu"]
    if labelled and Version(labelled[0].version).release == PREFERRED.release:
        return labelled[0]
    unlabelled = [p for p in usable if label_of(Version(p.version)) is None]
    for package in unlabelled[:CHECKED_BY_METADATA]:
        metadata = link_metadata(downloads, package.link)
        if metadata is not None and is_cpu_build(metadata):
            return package
    if labelled:
        return labelled[0]
    raise UserError(no_cpu_build(usable, downloads.sources.describe()))


def no_cpu_build(usable: list[Package], places: str) -> str:
    """The one line for a user whose sources hold no CPU build."""
    found = sorted({p.version for p in usable}, key=Version, reverse=True)
    offer = f"only GPU builds of torch ({', '.join(found[:3])})" if found else f"no torch >= {OLDEST} for Python 3.11"
    return (
        f"pip's sources have {offer}, and a CPU build is needed: add an index of CPU wheels with PIP_EXTRA_INDEX_URL, "
        f"or a folder with a torch {PREFERRED}+cpu wheel with PIP_FIND_LINKS (looked in {places})"
    )


def fetch_cpu_torch(downloads: Downloads) -> Path:
    """Download the chosen wheel, unless an earlier run did; its contents prove that it is a CPU build."""
    with once(downloads.folder / "torch"):
        for wheel in downloads.folder.glob("torch-*/*.whl"):
            return wheel
        return _fetch(downloads)


def _fetch(downloads: Downloads) -> Path:
    package = choose_cpu_torch(downloads)
    wheel = downloads.fetch(package.link, downloads.folder / f"torch-{package.version}")
    if not is_cpu_build(read_metadata(wheel)):
        shutil.rmtree(wheel.parent)
        raise UserError(no_cpu_build([package], downloads.sources.describe()))
    return wheel
