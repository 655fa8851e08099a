"""scripts/serve [MODEL] [vllm serve flags]: `vllm serve` from the installed package."""

from __future__ import annotations

import shlex

from tooling import serving
from tooling.installing.activation import execute
from tooling.layout import Layout

DEMO_MODEL = "vllm-demo-model"
LOCAL_HOST = "127.0.0.1"


def serve_command(arguments: list[str]) -> list[str]:
    """The command to run. Without a model first, the demo model; without --host, this machine only."""
    named = bool(arguments) and not arguments[0].startswith("-")
    named = named or any(a.partition("=")[0] in ("--model", "--config") for a in arguments)
    command = ["vllm", "serve", *([] if named else [DEMO_MODEL]), *arguments]
    if not any(a.partition("=")[0] in ("--host", "--uds", "--config") for a in arguments):
        command += ["--host", LOCAL_HOST]
    return command


def main(arguments: list[str]) -> int:
    """Set up what is missing, then become the server."""
    layout = Layout.from_environment()
    dry_run = "--dry-run" in arguments
    command = serve_command([a for a in arguments if a != "--dry-run"])
    if dry_run:
        print(*serving.plan(layout), f"run: {shlex.join(command)}", sep="\n")
        return 0
    execute(serving.ensure(layout, "serve"), command)
