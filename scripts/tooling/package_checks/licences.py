"""The licence is named, and its text is in the package."""

from __future__ import annotations

from collections.abc import Iterator

from tooling.package_checks.package import Package
from tooling.package_checks.registry import check


@check("licences", "names its licence in SPDX's words and brings the text")
def find(package: Package) -> Iterator[str]:
    """A missing or unknown licence expression, and missing or empty licence files."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    expression = package.index.get("license")
    if not expression:
        yield "the index names no licence: set about.license in the recipe"
    else:
        try:
            canonicalize_license_expression(expression)
        except InvalidLicenseExpression:
            yield f"{expression!r} is no SPDX licence expression"
    folder = package.folder / "info" / "licenses"
    texts = [file for file in folder.rglob("*") if file.is_file()]
    if not texts:
        yield "no licence file: set about.license_file in the recipe"
    for text in texts:
        if not text.read_bytes().strip():
            yield f"the licence file {text.name} is empty"
