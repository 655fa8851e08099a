"""scripts/publish PACKAGES CHANNEL: check finished packages and offer them, in a folder or on a package server."""

from __future__ import annotations

from pathlib import Path

from tooling import offered, publishing
from tooling.commands.build import Parser
from tooling.errors import UserError
from tooling.package_checks import require_promises


def parser() -> Parser:
    """The command line."""
    result = Parser(prog="scripts/publish", description=__doc__.partition(": ")[2], allow_abbrev=False)
    result.add_argument(
        "packages", type=Path, metavar="PACKAGES", help="folder that packages were built or fetched into"
    )
    result.add_argument(
        "channel", metavar="CHANNEL", help="folder of the channel, or its address: http(s)://SERVER/CHANNEL"
    )
    result.add_argument(
        "--keep", metavar="URL", help="address that the folder's channel is offered at: what it holds there, it keeps"
    )
    result.add_argument("--server", choices=publishing.SERVERS, help="what kind of server the address belongs to")
    return result


def main(arguments: list[str]) -> int:
    """Check every .conda file below the folder; offer all of them, or none if one breaks a promise."""
    options = parser().parse_args(arguments)
    remote = options.channel.startswith(("http://", "https://"))
    if remote != bool(options.server):
        kinds = ", ".join(publishing.SERVERS)
        raise UserError(f"--server goes with an address, and an address with --server: one of {kinds}")
    if remote and options.keep:
        raise UserError("--keep goes with a folder: a package server keeps what it has")
    files = sorted(options.packages.rglob("*.conda")) if options.packages.is_dir() else []
    if not files:
        raise UserError(f"{options.packages} holds no .conda file: name the folder that packages were built into")
    require_promises(files)
    if remote:
        publishing.upload(files, options.channel, options.server)
        print(*(f"{options.channel}: {file.name} ({file.stat().st_size / 1e6:.2f} MB)" for file in files), sep="\n")
        return 0
    channel = Path(options.channel).absolute()
    kept = offered.keep(options.keep, channel) if options.keep else []
    placed = [publishing.place(file, channel) for file in files]
    publishing.index(channel)
    if kept:
        print(f"{len(kept)} packages of {options.keep} are kept")
    print(*(f"{file} ({file.stat().st_size / 1e6:.2f} MB)" for file in dict.fromkeys(placed)), sep="\n")
    return 0
