"""python -m standin: build the stand-in channel, or say what it holds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from standin.channel import ensure_channel
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.progress import Progress


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 2 with one line when the machine lacks something."""
    parser = argparse.ArgumentParser(prog="standin", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the names of the channel's packages")
    parser.add_argument("--cache", type=Path, help="where downloads and the channel are kept")
    options = parser.parse_args(arguments)
    if options.list:
        from standin.plan import package_names

        print("\n".join(package_names()))
        return 0
    try:
        print(ensure_channel(options.cache or Layout.from_environment().cache, Progress()))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: finished packages and downloads are kept, the next run goes on from them", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
