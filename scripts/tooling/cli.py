"""Which module runs which command, and how errors end."""

from __future__ import annotations

import importlib
import signal
import sys

from tooling.errors import UserError, reason_from_outside

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
    """Run a command; 0 on success, 2 for anything the user can act on, 130 after Ctrl-C or SIGTERM.

    3 where the channel has no toolchain for the lane that is to be built (`toolchains.MissingToolchain`).
    """
    command, *rest = arguments or ["(none)"]
    if command not in COMMANDS:
        print(f"error: unknown command {command!r}: choose one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    # As Ctrl-C, so that what was started ends with this process.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
