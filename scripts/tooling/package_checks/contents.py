"""The package holds what its list of files says, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tooling.package_checks.package import Package
from tooling.package_checks.registry import check


@check("contents", "holds the files that it lists, with their sha256")
def find(package: Package) -> Iterator[str]:
    """Missing, unlisted and changed files."""
    listed = {entry.get("_path", ""): entry for entry in package.paths}
    present = set(package.files)
    for path in sorted(listed.keys() - present):
        yield f"{path} is listed but not there"
    for path in sorted(present - listed.keys()):
        yield f"{path} is there but not listed"
    for path in sorted(present & listed.keys()):
        file, entry = package.folder / path, listed[path]
        if "sha256" in entry and not file.is_symlink() and _sha256(file) != entry["sha256"]:
            yield f"{path} is not the file that was listed"


def _sha256(file) -> str:
    with file.open("rb") as opened:
        digest = hashlib.sha256()
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
