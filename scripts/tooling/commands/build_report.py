"""scripts/build_report RECORD [HTML] [--costs]: draw what a build compiled when. scripts/build does it by itself."""

from __future__ import annotations

from pathlib import Path

from tooling import build_report, layout
from tooling.commands.build import Parser

COSTS = "cmake/compile_costs.json"


def main(arguments: list[str]) -> int:
    """Write the report and print where it is."""
    parser = Parser(prog="scripts/build_report", description=__doc__.partition(": ")[2], allow_abbrev=False)
    parser.add_argument("record", type=Path, metavar="RECORD", help=f"a build's {build_report.RECORD}")
    parser.add_argument("html", type=Path, metavar="HTML", nargs="?", help="the report (default: beside the record)")
    parser.add_argument("--costs", action="store_true", help=f"keep what the sources took in {COSTS}, too")
    options = parser.parse_args(arguments)
    target = options.html or options.record.with_suffix(".html")
    print(build_report.write(options.record, target, title=f"Build of {options.record.absolute().parent.name}"))
    if options.costs:
        changed = build_report.keep_costs(build_report.read(options.record), layout.ROOT / COSTS, layout.ROOT)
        print(f"{COSTS}: {changed} sources changed")
    return 0
