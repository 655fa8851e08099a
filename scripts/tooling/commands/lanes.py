"""scripts/lanes [--changed-since REVISION] [--json]: the names of the lanes, or of those that a change touches."""

from __future__ import annotations

import argparse
import json

from tooling.errors import UserError
from tooling.layout import ROOT
from tooling.planning.changes import changed_since, lanes_touched
from tooling.planning.lanes import known_lanes


class Parser(argparse.ArgumentParser):
    """Reports errors as every command here does."""

    def error(self, message: str):
        raise UserError(f"{message} (see scripts/lanes --help)")


def main(arguments: list[str]) -> int:
    """Print one name a line, or a JSON list."""
    parser = Parser(prog="scripts/lanes", description="Name the lanes of the matrix.", allow_abbrev=False)
    parser.add_argument("--changed-since", metavar="REVISION", help="only lanes that changes since then touch")
    parser.add_argument("--json", action="store_true", help="as one JSON list")
    options = parser.parse_args(arguments)
    if options.changed_since is None:
        lanes = known_lanes(ROOT)
    else:
        lanes = lanes_touched(ROOT, changed_since(ROOT, options.changed_since))
    print(json.dumps(lanes) if options.json else "\n".join(lanes))
    return 0
