"""Checks of a finished .conda file: what it promises, held against what is in it. One idea a file.

A check is a function of a `Package` that yields findings, one line each, and is entered in the registry with a name
and the promise it holds. Nothing here runs code of the package, so any machine can check packages for any other.
"""

from tooling.package_checks.archive import BadPackage
from tooling.package_checks.gate import require_promises
from tooling.package_checks.package import Package, opened
from tooling.package_checks.registry import Check, Report, checks, run

__all__ = ["BadPackage", "Check", "Package", "Report", "checks", "opened", "require_promises", "run"]
