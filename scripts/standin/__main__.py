"""python -m standin: make the stand-in channel and print its folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from standin.channel import HERE, build_only, channel_of, ensure_channel, home_of
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.progress import Progress


def arguments_of(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="standin", description=__doc__, allow_abbrev=False)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where downloads and the channel are kept")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="print the names of the channel's packages and stop")
    what.add_argument(
        "--only", action="append", metavar="NAME", help="build this package and what it needs (repeatable)"
    )
    what.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
    what.add_argument("--lock", action="store_true", help="for maintainers: pin today's wheels in wheels.lock and stop")
    return parser.parse_args(arguments)


def describe(cache: Path) -> str:
    """What a run would do."""
    from standin import plan

    channel = channel_of(cache)
    if channel.is_dir():
        return f"use {channel}, which is complete"
    debs, wheels = len(plan.deb_names()), len(plan.pinned_wheels())
    return (
        f"download {debs} debs with apt-get and {wheels} pinned wheels, a CPU torch and NumPy's source package "
        f"from pip's sources, into {home_of(cache)}, as far as they are not there\n"
        f"build {len(plan.package_names())} packages with rattler-build, as far as they are not there\n"
        f"index them as {channel}"
    )


def execute(options: argparse.Namespace) -> str:
    """Do what the command line asks for; what to print."""
    cache = options.cache or Layout.from_environment().cache
    if options.list:
        from standin.plan import package_names

        return "\n".join(package_names())
    if options.dry_run:
        return describe(cache)
    if options.lock:
        from standin.lock import write_lock
        from standin.wheel_recipe import WheelTable

        return f"{write_lock(WheelTable.read(HERE / 'wheels.yaml').roots, HERE / 'wheels.lock')} wheels pinned"
    if options.only:
        return "\n".join(map(str, build_only(cache, frozenset(options.only), Progress())))
    return str(ensure_channel(cache, Progress()))


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 2 with one line when something is lacking, or 130 when interrupted."""
    try:
        print(execute(arguments_of(arguments)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: finished packages and downloads are kept, the next run goes on from them", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
