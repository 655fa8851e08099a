"""The file's name, its index and its variant tell the same story."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tooling.package_checks.package import Package
from tooling.package_checks.registry import check


@check("identity", "file name, index and variant agree")
def find(package: Package) -> Iterator[str]:
    """Name, version and build as in the file's name; lane, platform and build number as in the build string."""
    index = package.index
    build = str(index.get("build", ""))
    named = f"{package.name}-{index.get('version')}-{build}.conda"
    if named != package.file.name:
        yield f"the index says {named}"
    if not build.endswith(f"_{index.get('build_number')}"):
        yield f"build string {build} does not end in the build number {index.get('build_number')}"
    if package.lane and _device(build) != _device(package.lane):
        yield f"build string {build} does not begin as its lane {package.lane} does"
    platform = package.variant.get("target_platform", package.subdir)
    if package.subdir not in (platform, "noarch"):
        yield f"platform {package.subdir} in the index, {platform} in the variant"


def _device(text: str) -> str:
    """The leading letters: cuda of cuda130_h0123456_200 and of cuda13-aarch64."""
    return re.match(r"[a-z]*", text)[0]
