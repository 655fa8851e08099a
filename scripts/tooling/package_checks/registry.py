"""The checks there are, in the order of their names' modules, and what running them answers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from tooling.package_checks.archive import BadPackage
from tooling.package_checks.package import Package

MODULES = (
    "identity",
    "contents",
    "licences",
    "size",
    "build_paths",
    "python_abi",
    "torch_abi",
    "system_libraries",
    "library_paths",
    "machine",
    "instructions",
    "gpu_architectures",
)
"""Modules of this folder that enter a check, in the order in which they are reported."""

_REGISTRY: dict[str, Check] = {}


class Skipped(Exception):
    """Raised by a check that this machine cannot make; one line says why."""


@dataclass(frozen=True)
class Check:
    """One promise. `find` yields a line for each way in which a package breaks it."""

    name: str
    promise: str
    find: Callable[[Package], Iterable[str]]


@dataclass(frozen=True)
class Report:
    """What one check found in one package; nothing found is a promise kept, unless the check was skipped."""

    check: Check
    findings: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def line(self) -> str:
        """The report as one line: the promise where it holds, else every reason why it does not."""
        if self.skipped:
            return f"skip {self.check.name}: {self.skipped}"
        state = "FAIL" if self.findings else "ok"
        return f"{state:4} {self.check.name}: {'; '.join(self.findings) or self.check.promise}"


def check(name: str, promise: str) -> Callable:
    """Enter the decorated function in the registry under `name`."""

    def enter(find: Callable[[Package], Iterable[str]]) -> Callable[[Package], Iterable[str]]:
        _REGISTRY[name] = Check(name, promise, find)
        return find

    return enter


@cache
def checks() -> tuple[Check, ...]:
    """Every check."""
    for module in MODULES:
        importlib.import_module(f"tooling.package_checks.{module}")
    return tuple(_REGISTRY.values())


def run(package: Package) -> list[Report]:
    """Run every check on `package`, even after one fails."""
    return [_report(each, package) for each in checks()]


def _report(each: Check, package: Package) -> Report:
    """What `each` finds. A damaged file can make a parser fail in any way: then it is the package that is bad."""
    try:
        return Report(each, tuple(each.find(package)))
    except Skipped as reason:
        return Report(each, skipped=str(reason))
    except BadPackage:
        raise
    except Exception as error:
        raise BadPackage(f"{package.file} cannot be read by the check {each.name!r}: {error!r}") from error
