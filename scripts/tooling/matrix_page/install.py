"""The lines that install a build. page.js says the same for the build that is chosen there."""

from __future__ import annotations

from tooling.matrix_page.builds import PACKAGE, Build

CHANNEL = "CHANNEL"
"""Stands for the channel's address where that is not known."""

CLIENTS = ("conda", "mamba", "pixi")


def lines(build: Build, by_name: bool | None = None, channel: str = CHANNEL) -> dict[str, list[str]]:
    """Command lines by client. `by_name`: whether to ask for this lane (default: where solvers would not take it)."""
    spec = f'"{build.spec}"' if (build.by_name if by_name is None else by_name) else PACKAGE
    pixi = [f"pixi init --channel {channel} --channel conda-forge"]
    if build.cuda:
        pixi.append(f"pixi workspace system-requirements add cuda {build.cuda}")
    if build.level:
        pixi.append(f"pixi workspace platform add --archspec x86-64-v{build.level} {build.platform}")
    return {
        "conda": [f"conda install -c {channel} -c conda-forge {spec}"],
        "mamba": [f"mamba install -c {channel} -c conda-forge {spec}"],
        "pixi": [*pixi, f"pixi add {spec}"],
    }
