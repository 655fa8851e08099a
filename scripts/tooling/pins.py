"""Toolchain pins that a local base channel cannot meet, replaced by what it holds.

conda_build_config.yaml pins conda-forge's toolchain. A stand-in made of the system's packages has the system's compiler
and C library; the same recipe builds with those.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote, urlparse

PACKAGE_OF_PIN = {
    "c_compiler_version": "gcc_{platform}",
    "cxx_compiler_version": "gxx_{platform}",
    "c_stdlib_version": "sysroot_{platform}",
}


def local_pins(channel: str, platform: str) -> dict[str, list[str]]:
    """Variant keys to replace when `channel` is a folder (a file: URL): the newest version of each that it holds."""
    if not channel.startswith("file:"):
        return {}
    versions = _newest_versions(Path(unquote(urlparse(channel).path)), platform)
    packages = {key: name.format(platform=platform) for key, name in PACKAGE_OF_PIN.items()}
    return {key: [versions[name]] for key, name in packages.items() if name in versions}


def _newest_versions(folder: Path, platform: str) -> dict[str, str]:
    from rattler import Version

    newest: dict[str, str] = {}
    for subdir in (platform, "noarch"):
        file = folder / subdir / "repodata.json"
        records = json.loads(file.read_text()) if file.exists() else {}
        for section in ("packages", "packages.conda"):
            for record in records.get(section, {}).values():
                name, version = record["name"], record["version"]
                if name not in newest or Version(version) > Version(newest[name]):
                    newest[name] = version
    return newest
