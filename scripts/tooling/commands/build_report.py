"""scripts/build_report RECORD [HTML]: draw what a build compiled when. scripts/build does it by itself."""

from __future__ import annotations

from pathlib import Path

from tooling import build_report
from tooling.commands.build import Parser


def main(arguments: list[str]) -> int:
    """Write the report and print where it is."""
    parser = Parser(prog="scripts/build_report", description=__doc__.partition(": ")[2], allow_abbrev=False)
    parser.add_argument("record", type=Path, metavar="RECORD", help=f"a build's {build_report.RECORD}")
    parser.add_argument("html", type=Path, metavar="HTML", nargs="?", help="the report (default: beside the record)")
    options = parser.parse_args(arguments)
    target = options.html or options.record.with_suffix(".html")
    print(build_report.write(options.record, target, title=f"Build of {options.record.absolute().parent.name}"))
    return 0
