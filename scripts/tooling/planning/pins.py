"""Toolchain pins that a local base channel cannot meet, replaced by what it holds.

conda_build_config.yaml and the lanes pin conda-forge's toolchains. A stand-in made of the system's packages has the
system's compiler and C library, and perhaps one CUDA toolkit of several; the same recipe builds with those.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote, urlparse

from tooling.planning.lanes import host_platform, variant_values
from tooling.planning.recipes import target_platform

NEWEST = {
    "c_compiler_version": "gcc_{platform}",
    "cxx_compiler_version": "gxx_{platform}",
    "c_stdlib_version": "sysroot_{platform}",
}
"""Keys that take the newest version there is of a package."""

OFFERED = {"cuda_compiler_version": "cuda-nvcc_{platform}", "rocm_version": "hipcc"}
"""Keys that keep those of their values that a package is there for."""


def local_pins(root: Path, lane: str, channel: str) -> dict[str, list[str]]:
    """Variant keys of `lane` to replace when `channel` is a folder (a file: URL) that lacks their packages."""
    if not channel.startswith("file:"):
        return {}
    versions = _versions(Path(unquote(urlparse(channel).path)))
    platform = target_platform(root, lane)
    pins = {}
    for key, name in NEWEST.items():
        if held := versions.get(name.format(platform=platform)):
            pins[key] = [held[-1]]
    for key, name in OFFERED.items():
        held = versions.get(name.format(platform=platform), [])
        offered = [value for value in variant_values(root, lane, key) if any(_is_within(v, value) for v in held)]
        if offered:
            pins[key] = offered
    return pins


def _is_within(version: str, series: str) -> bool:
    return f"{version}.".startswith(f"{series}.")


def _versions(folder: Path) -> dict[str, list[str]]:
    """The versions of every package that runs on this machine, oldest first."""
    from rattler import Version

    found: dict[str, set[str]] = {}
    for subdir in (host_platform(), "noarch"):
        file = folder / subdir / "repodata.json"
        records = json.loads(file.read_text()) if file.exists() else {}
        for section in ("packages", "packages.conda"):
            for record in records.get(section, {}).values():
                found.setdefault(record["name"], set()).add(record["version"])
    return {name: sorted(versions, key=Version) for name, versions in found.items()}
