"""scripts/run COMMAND [ARGUMENT...]: anything, in the serving environment."""

from __future__ import annotations

import shlex

from tooling import serving
from tooling.errors import UserError
from tooling.installing.activation import execute
from tooling.layout import Layout

USAGE = "scripts/run [--dry-run] COMMAND [ARGUMENT...]"


def main(arguments: list[str]) -> int:
    """Set up what is missing, then become the command. Only a leading --dry-run is this script's own."""
    layout = Layout.from_environment()
    dry_run = arguments[:1] == ["--dry-run"]
    command = arguments[1:] if dry_run else arguments
    if command[:1] in (["-h"], ["--help"]):
        print(f"usage: {USAGE}")
        return 0
    if not command:
        raise UserError(f"no command given: {USAGE}, e.g. scripts/run vllm --version")
    if dry_run:
        print(*serving.plan(layout), f"run: {shlex.join(command)}", sep="\n")
        return 0
    execute(serving.ensure(layout, "run"), command)
