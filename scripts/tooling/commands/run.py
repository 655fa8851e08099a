"""scripts/run COMMAND [ARGUMENT...]: anything, in the serving environment."""

from __future__ import annotations

import shlex

from tooling import serving
from tooling.activation import execute
from tooling.errors import UserError
from tooling.layout import Layout


def main(arguments: list[str]) -> int:
    """Set up what is missing, then become the command. Only a leading --dry-run is this script's own."""
    layout = Layout.from_environment()
    dry_run = arguments[:1] == ["--dry-run"]
    command = arguments[1:] if dry_run else arguments
    if not command or command[0] in ("-h", "--help"):
        raise UserError(
            "no command given: scripts/run [--dry-run] COMMAND [ARGUMENT...], e.g. scripts/run vllm --version"
        )
    if dry_run:
        print(*serving.plan(layout), f"run: {shlex.join(command)}", sep="\n")
        return 0
    execute(serving.ensure(layout, "run"), command)
