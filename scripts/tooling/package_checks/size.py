"""Packages stay as small as budgets.yaml promises."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from tooling.package_checks.package import Package
from tooling.package_checks.registry import check

BUDGETS = Path(__file__).with_name("budgets.yaml")


def budget(name: str, lane: str) -> float:
    """The largest size in bytes of package `name` in `lane`."""
    table = yaml.safe_load(BUDGETS.read_text())
    for pattern, lanes in table.items():
        if fnmatchcase(name, pattern):
            return 1e6 * next(megabytes for wanted, megabytes in lanes.items() if fnmatchcase(lane, wanted))
    raise LookupError(f"{BUDGETS} has no entry for {name}, not even '*'")


@check("size", "within its budget")
def find(package: Package) -> Iterator[str]:
    """A package file above its budget."""
    size, allowed = package.file.stat().st_size, budget(package.name, package.lane)
    if size > allowed:
        yield (
            f"{size / 1e6:.2f} MB; {BUDGETS.name} allows {package.name} {allowed / 1e6:g} MB"
            f"{f' in lane {package.lane}' if package.lane else ''}"
        )
