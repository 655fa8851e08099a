"""What a build asks of a machine, read from its record in repodata or from what a recipe renders to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tooling.errors import UserError
from tooling.planning.recipes import Output

PACKAGE = "vllm"
NOARCH = "noarch"
DEVICES = {
    "cpu": "CPU",
    "cuda": "NVIDIA GPU (CUDA)",
    "rocm": "AMD GPU (ROCm)",
    "xpu": "Intel GPU (XPU)",
    "tpu": "TPU",
    "empty": "none: no kernels",
}
"""Names by the word that build strings begin with, in the order in which they are shown."""

PLATFORMS = {
    "linux-64": "Linux, x86-64",
    "linux-aarch64": "Linux, 64-bit Arm",
    "linux-ppc64le": "Linux, POWER",
    "linux-s390x": "Linux, IBM Z",
    "osx-arm64": "macOS, Apple silicon",
    "osx-64": "macOS, Intel",
    "win-64": "Windows, x86-64",
    NOARCH: "any",
}
LEVEL_PACKAGE = "_x86_64-microarch-level"


@dataclass(frozen=True)
class Build:
    """One build of the package. Versions of what it needs are empty strings where it needs none."""

    version: str
    build: str
    number: int
    platform: str
    by_name: bool
    """Whether solvers take it only where it is asked for."""
    cuda: str
    """Oldest CUDA version that the driver has to run."""
    glibc: str
    macos: str
    level: str
    """x86-64 microarchitecture level: 3 for AVX2, 4 for AVX-512."""
    size: int
    """Bytes of the package file; 0 where it was not built."""

    @property
    def device(self) -> str:
        """A key of DEVICES."""
        return re.match(r"[a-z]*", self.build)[0]

    @property
    def lane(self) -> str:
        """What its build string begins with: cuda130, cpu_v3."""
        return self.build.partition("_h")[0]

    @property
    def spec(self) -> str:
        """A match spec for builds of this lane, as command lines take it. `cpu_*` would be the slim builds, too."""
        return f"{PACKAGE}=*={self.lane}_h*"

    @property
    def order(self) -> tuple:
        """Sorts by device, platform, then what solvers prefer."""
        devices, platforms = list(DEVICES), list(PLATFORMS)
        version = [-int(part) for part in re.findall(r"\d+", self.version)]
        toolkit = [-int(part) for part in re.findall(r"\d+", self.cuda)]
        return (_position(devices, self.device), _position(platforms, self.platform), self.by_name, version, toolkit,
                -self.number, self.build)  # fmt: skip


def of_output(output: Output) -> Build:
    """The build that `output` would be."""
    return _build(output.version, output.build, output.number, output.subdir, output.requirements["run"],
                  by_name=output.down_prioritized, size=0)  # fmt: skip


def of_channel(channel: Path) -> list[Build]:
    """Every build in the repodata of a channel folder, in order."""
    files = sorted(channel.glob("*/repodata.json"))
    if not files:
        raise UserError(f"{channel} holds no <platform>/repodata.json: give the folder of an indexed channel")
    builds = []
    for file in files:
        try:
            sections = json.loads(file.read_text())
            records = [r for s in ("packages", "packages.conda") for r in sections.get(s, {}).values()]
            builds += [of_record(record, file.parent.name) for record in records if record["name"] == PACKAGE]
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{file} is no repodata: {error!r}; index the channel again") from None
    return sorted(builds, key=lambda build: build.order)


def of_record(record: dict, platform: str) -> Build:
    """The build that a record of repodata is about."""
    return _build(record["version"], record["build"], record["build_number"], platform, record["depends"],
                  by_name=bool(record.get("track_features")), size=record.get("size", 0))  # fmt: skip


def _build(version: str, build: str, number: int, platform: str, depends: list[str], by_name: bool, size: int) -> Build:
    bounds = dict(match.groups() for spec in depends if (match := re.match(r"(\S+) >=([\d.]*\d)", spec)))
    needs = {key: bounds.get(name, "") for key, name in _NEEDS.items()}
    return Build(version, build, number, platform, by_name, size=size, **needs)


_NEEDS = {"cuda": "__cuda", "glibc": "__glibc", "macos": "__osx", "level": LEVEL_PACKAGE}


def _position(known: list[str], name: str) -> int:
    return known.index(name) if name in known else len(known)
