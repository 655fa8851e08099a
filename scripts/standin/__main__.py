"""python -m standin: make the stand-in channel and print its folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from standin.channel import HERE, build_only, channel_of, channel_with, home_of
from standin.groups import choose
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.progress import Progress


def arguments_of(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="standin", description=__doc__, allow_abbrev=False)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where downloads and the channel are kept")
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="GROUP",
        help="hold these packages, too: a file of scripts/standin/groups (repeatable)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="print the names of the channel's packages and stop")
    what.add_argument(
        "--only", action="append", metavar="NAME", help="build this package and what it needs (repeatable)"
    )
    what.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
    what.add_argument(
        "--lock",
        action="store_true",
        help="for maintainers: pin today's wheels in wheels.lock, or those of each --group in its lock, and stop",
    )
    return parser.parse_args(arguments)


def describe(cache: Path, groups: list) -> str:
    """What a run would do."""
    from standin import plan
    from standin.catalogue import planned

    channel = channel_of(cache, groups)
    if channel.is_dir():
        return f"use {channel}, which is complete"
    debs, wheels = len(plan.deb_names()), len(plan.pinned_wheels()) + sum(len(group.pins()) for group in groups)
    return (
        f"download {debs} debs with apt-get and {wheels} pinned wheels, a CPU torch and NumPy's source package "
        f"from pip's sources, into {home_of(cache)}, as far as they are not there\n"
        f"build {len(planned(groups))} packages with rattler-build, as far as they are not there\n"
        f"index them as {channel}"
    )


def write_locks(groups: list) -> str:
    """Pin the default wheels, or those of `groups`."""
    from standin import lock
    from standin.target import Python, platforms
    from standin.wheel_recipe import WheelTable

    if not groups:
        command = lock.resolve_command(WheelTable.read(HERE / "wheels.yaml").roots)
        return f"{lock.write_lock(command, lock.HEADER, HERE / 'wheels.lock')} wheels pinned"
    said = []
    for group in groups:
        if group.wheels:
            place = platforms(group.machine), Python(group.python)
            command = [*lock.resolve_command(group.wheels, *place), "--no-deps"]
            said.append(f"{group.name}: {lock.write_lock(command, lock.GROUP_HEADER, group.lock)} wheels pinned")
    return "\n".join(said)


def execute(options: argparse.Namespace) -> str:
    """Do what the command line asks for; what to print."""
    cache = options.cache or Layout.from_environment().cache
    groups = choose(options.group)
    if options.list:
        from standin.catalogue import planned

        return "\n".join(sorted(planned(groups)))
    if options.dry_run:
        return describe(cache, groups)
    if options.lock:
        return write_locks(groups)
    if options.only:
        return "\n".join(map(str, build_only(cache, frozenset(options.only), Progress(), groups)))
    return str(channel_with(cache, Progress(), groups))


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
