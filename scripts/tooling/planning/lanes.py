"""Lanes: what of the matrix is built together, one file of recipe-variants/ each.

A lane's variant keys come from the shared pins, then from the file of each name that its own begins with, up to a dash
(`cuda13`, then `cuda13-aarch64`), a later file replacing whole keys. So a file says only what sets its lane apart.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import yaml

from tooling.errors import UserError

SHARED_PINS = "conda_build_config.yaml"
FOLDER = "recipe-variants"
NOARCH = "noarch"
PLATFORM_KEY = "target_platform"
OVERRIDES = {
    "TORCH_CUDA_ARCH_LIST": "vllm_cuda_archs",
    "PYTORCH_ROCM_ARCH": "vllm_rocm_archs",
    "VLLM_MAIN_CUDA_VERSION": "cuda_compiler_version",
}
"""Environment variables that replace a key of the lanes that set it."""

READ_BY_RECIPES = ("VLLM_CPU_DISABLE_AVX512",)
"""Environment variables that choose what is compiled and are no key of any lane."""


def known_lanes(root: Path) -> list[str]:
    """Names of the lanes, one file of recipe-variants/ each."""
    return sorted(file.stem for file in (root / FOLDER).glob("*.yaml"))


def variant_files(root: Path, lane: str) -> list[Path]:
    """The files that `-m` would name, in order; a later one replaces whole keys of an earlier one."""
    parts = lane.split("-")
    names = ["-".join(parts[: count + 1]) for count in range(len(parts))]
    layers = [root / FOLDER / f"{name}.yaml" for name in names]
    return [root / SHARED_PINS, *(file for file in layers if file.exists())]


def variant_values(root: Path, lane: str, key: str) -> list[str]:
    """The values of a variant key in `lane`; none where no file sets it."""
    values = [_keys(file).get(key) for file in variant_files(root, lane)]
    stated = list(map(str, next((value for value in reversed(values) if value), [])))
    chosen = next((os.environ.get(variable) for variable, name in OVERRIDES.items() if name == key), None)
    return [chosen] if chosen and any(stated) else stated


def overrides(root: Path, lane: str) -> dict[str, list[str]]:
    """Keys of `lane` that the environment replaces: a build for one GPU, or with one of several toolkits."""
    replaced = {key: variant_values(root, lane, key) for variable, key in OVERRIDES.items() if os.environ.get(variable)}
    return {key: values for key, values in replaced.items() if any(values)}


@contextmanager
def overridden(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables of OVERRIDES for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def platform_of(root: Path, lane: str) -> str:
    """The platform that the lane is for, as conda names it, or noarch; this machine's where its files name none."""
    platforms = variant_values(root, lane, PLATFORM_KEY)
    if len(platforms) > 1:
        raise UserError(f"lane {lane!r} has {len(platforms)} values of {PLATFORM_KEY}: give each a lane of its own")
    return platforms[0] if platforms else host_platform()


def device_of(root: Path, lane: str) -> str:
    """The device that the lane's kernels run on: cpu, cuda, rocm, or the name of a lane without kernels."""
    return next(iter(variant_values(root, lane, "vllm_target_device")), "cpu")


def default_lane(root: Path) -> str:
    """The lane that runs on this machine's every processor: `cpu`, or that of another platform."""
    lanes = [lane for lane in known_lanes(root) if lane.partition("-")[0] == "cpu"]
    return next((lane for lane in lanes if platform_of(root, lane) == host_platform()), "cpu")


@cache
def host_platform() -> str:
    """This machine's platform, as conda names it (linux-64, osx-arm64, ...)."""
    system = {"Linux": "linux", "Darwin": "osx", "Windows": "win"}.get(platform.system(), platform.system().lower())
    machine = platform.machine().lower()
    return f"{system}-{'64' if machine in ('x86_64', 'amd64') else machine}"


def _keys(file: Path) -> dict:
    """The variant keys that a file sets. Selectors (`# [linux]`) do not count here: a lane's own keys have none."""
    stamp = file.stat()
    return _read(file, stamp.st_mtime_ns, stamp.st_size)


@cache
def _read(file: Path, modified: int, size: int) -> dict:
    """`_keys`, read once for each state of the file."""
    try:
        return yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
