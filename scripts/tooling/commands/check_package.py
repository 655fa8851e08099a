"""scripts/check_package FILE.conda ...: whether finished packages are what they promise."""

from __future__ import annotations

from pathlib import Path

from tooling import package_checks
from tooling.commands.build import Parser
from tooling.errors import UserError


def parser() -> Parser:
    """The command line."""
    result = Parser(
        prog="scripts/check_package",
        description="Check finished packages. Exit status 1 when one breaks a promise, 2 when it cannot be read.",
        allow_abbrev=False,
    )
    result.add_argument("files", nargs="*", type=Path, metavar="FILE.conda", help="packages to check")
    result.add_argument("--list", action="store_true", help="print what is checked")
    return result


def main(arguments: list[str]) -> int:
    """Print one line a check; 1 when any failed."""
    options = parser().parse_args(arguments)
    if options.list:
        print(*(f"{check.name}: {check.promise}" for check in package_checks.checks()), sep="\n")
        return 0
    if not options.files:
        raise UserError("no package given: scripts/check_package FILE.conda ...")
    failed = 0
    for file in options.files:
        try:
            with package_checks.opened(file) as package:
                print(f"{file} ({file.stat().st_size / 1e6:.2f} MB)")
                reports = package_checks.run(package)
        except package_checks.BadPackage as problem:
            raise UserError(str(problem)) from None
        print(*(f"  {report.line}" for report in reports), sep="\n", flush=True)
        failed += any(report.findings for report in reports)
    return 1 if failed else 0
