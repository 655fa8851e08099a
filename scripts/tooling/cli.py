"""Which module runs which command, and how errors end."""

from __future__ import annotations

import importlib
import sys

from tooling.errors import UserError, reason_from_outside
from tooling.stopping import stop_as_by_ctrl_c

COMMANDS = (
    "serve",
    "run",
    "build",
    "build_report",
    "test",
    "test_cross",
    "lint",
    "check_package",
    "lanes",
    "matrix_page",
    "publish",
    "test_lanes",
)


def main(arguments: list[str]) -> int:
    """Run a command; 0 on success, 2 for anything the user can act on, 130 after Ctrl-C, SIGTERM or SIGHUP.

    3 where the channel has no toolchain for the lane that is to be built (`toolchains.MissingToolchain`).
    """
    command, *rest = arguments or ["(none)"]
    if command not in COMMANDS:
        print(f"error: unknown command {command!r}: choose one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    stop_as_by_ctrl_c()
    try:
        return importlib.import_module(f"tooling.commands.{command}").main(rest)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    except Exception as error:
        reason = reason_from_outside(error)
        if reason is None:
            raise
        print(f"error: {reason}; when that is put right, the next run goes on from here", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the next run goes on from here", file=sys.stderr)
        return 130
