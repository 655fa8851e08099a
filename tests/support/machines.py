"""Machines as solvers see them, and a channel of this checkout's packages with the least of what they depend on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from rattler import BuildString, GenericVirtualPackage, PackageName, Version

from tooling.planning.lanes import known_lanes
from tooling.planning.recipes import Output, render

PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
CUDA_VERSIONS = ("12.9", "13.0", "13.1", "13.2")
COMPILED = ("linux-64", "linux-aarch64", "linux-ppc64le", "linux-s390x", "osx-arm64")
MICROARCHITECTURES = {
    "2": ("x86_64_v2", "nehalem", "ivybridge", "x86_64_v3", "haswell", "zen2", "x86_64_v4", "skylake_avx512", "zen4"),
    "3": ("x86_64_v3", "haswell", "zen2", "x86_64_v4", "skylake_avx512", "zen4"),
    "4": ("x86_64_v4", "skylake_avx512", "zen4"),
}
"""Level -> the CPUs that have it, as `__archspec` names them."""


@dataclass(frozen=True)
class Machine:
    """A platform and the versions of what a solver detects there."""

    platform: str = "linux-64"
    glibc: str = "2.39"
    archspec: str = "zen4"
    others: dict[str, str] = field(default_factory=dict)

    def virtual_packages(self) -> list[GenericVirtualPackage]:
        """What `conda info` would list."""
        found = {"unix": ("0", "0")}
        if self.platform.startswith("linux"):
            found |= {"linux": ("6.8", "0"), "glibc": (self.glibc, "glibc")}
        if self.platform == "linux-64":
            found["archspec"] = ("1", self.archspec)
        if self.platform.startswith("win"):
            found = {"win": ("0", "0")}
        found |= {name: (version, "0") for name, version in self.others.items()}
        return [
            GenericVirtualPackage(PackageName(f"__{name}"), Version(version), BuildString(build))
            for name, (version, build) in found.items()
        ]


def write_channel(folder: Path, root: Path, newer: str = "") -> str:
    """Write every package that `root`'s vllm recipe renders to, and what they need to be solved; the channel's URL.

    Builds whose string begins with `newer` are there once more, in a later version.
    """
    records: dict[str, list[dict]] = {platform: [] for platform in (*COMPILED, "noarch", "win-64")}
    outputs = {(o.subdir, o.file_name): o for lane in known_lanes(root) for o in render(root, "vllm", lane)}
    for output in outputs.values():
        records[output.subdir].append(our_record(output))
        if newer and output.build.startswith(f"{newer}_"):
            records[output.subdir].append(our_record(output) | {"version": f"{output.version}.1"})
    names = {spec.split()[0] for output in outputs.values() for spec in output.requirements["run"]}
    ours = {output.name for output in outputs.values()} | {"python", "pytorch", "cuda-version"}
    records["noarch"] += [
        _record(name, "99.0", "0", depends=["python >=3.9"])
        for name in sorted(names - ours)
        if not name.startswith("_")
    ]
    records["noarch"] += [_record("cuda-version", version, "0") for version in CUDA_VERSIONS]
    for platform in COMPILED:
        records[platform] += [_record("python", f"{version}.1", "0") for version in PYTHONS]
        records[platform] += _torches(platform)
    records["win-64"] += [_record("python", "3.12.1", "0")]
    records["linux-64"] += [
        _record("_x86_64-microarch-level", level, f"2_{cpu}", depends=[f"__archspec 1 {cpu}"])
        for level, cpus in MICROARCHITECTURES.items()
        for cpu in cpus
    ]
    for platform, entries in records.items():
        (folder / platform).mkdir(parents=True)
        packages = {f"{r['name']}-{r['version']}-{r['build']}.conda": r | {"subdir": platform} for r in entries}
        contents = {"info": {"subdir": platform}, "packages": {}, "packages.conda": packages, "repodata_version": 1}
        (folder / platform / "repodata.json").write_text(json.dumps(contents))
    return folder.as_uri()


def our_record(output: Output) -> dict:
    """The entry in repodata of a package that was rendered, not built."""
    return _record(
        output.name,
        output.version,
        output.build,
        build_number=output.number,
        depends=output.requirements["run"],
        constrains=output.constraints,
        noarch="python",
        **({"track_features": f"{output.name}-p-0"} if output.down_prioritized else {}),
    )


def _torches(platform: str) -> list[dict]:
    """pytorch as conda-forge builds it: for the CPU, and for the oldest CUDA of each generation, which it prefers."""
    records = [_record("pytorch", version, f"cpu_generic_{version}_0") for version in ("2.9.0", "2.10.0", "2.13.0")]
    if platform in ("linux-64", "linux-aarch64"):
        for cuda, upper in (("12.9", "13"), ("13.0", "14")):
            needs = ["__cuda", f"cuda-version >={cuda},<{upper}.0a0"]
            build = f"cuda{cuda.replace('.', '')}_generic_200"
            records.append(_record("pytorch", "2.13.0", build, build_number=200, depends=needs))
    if platform == "linux-64":
        records.append(_record("pytorch", "2.13.0", "rocm72_generic_0", track_features="pytorch-p-0"))
    return records


def _record(name: str, version: str, build: str, **others) -> dict:
    """An entry in repodata; every one was made at the same time, so that time decides nothing."""
    return {"name": name, "version": version, "build": build, "build_number": 0, "depends": [], "size": 1,
            "timestamp": 1_700_000_000_000, "md5": "0" * 32, "sha256": "0" * 64} | others  # fmt: skip
