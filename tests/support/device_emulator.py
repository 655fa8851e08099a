"""The device kernels and their bindings, compiled as plain C++ over tests/device/emulator and loaded beside vllm._C.

The ops are those of ``torch.ops._C`` and so on under ``torch.ops._C_emulated``: same schemas, CPU tensors.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from support.checkout import ROOT

FLAGS = (
    "-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-w", "-DVLLM_DEVICE_EMULATED",
    "-DTORCH_TARGET_VERSION=0x020a000000000000ULL",
)  # fmt: skip
ORDERS = {"forward": 0, "reverse": 1, "shuffled": 2}


def sources() -> list[Path]:
    """Everything torch-free and every binding, the emulator included."""
    patterns = (
        "csrc/device/*.cu",
        "csrc/deepgemm/*.cu",
        "csrc/deepgemm/*.cpp",
        "csrc/flash_attn/*.cu",
        "csrc/flash_attn/*.cpp",
        "csrc/flashmla/*.cu",
        "csrc/flashmla/*.cpp",
        "csrc/flashinfer/*.cu",
        "csrc/flashinfer/*.cpp",
        "csrc/moe/*.cu",
        "csrc/moe/*.cpp",
        "csrc/rocm/*.cu",
        "csrc/rocm/*.cpp",
        "csrc/cumem/pool.cpp",
        "csrc/cumem/exports.cpp",
        "csrc/bindings/device/*.cpp",
        "csrc/bindings/tensor.cpp",
        "tests/device/emulator/*.cpp",
    )
    return sorted(file for pattern in patterns for file in ROOT.glob(pattern))


def _torch_folder(name: str, holds: str) -> Path:
    """torch's include or lib folder: inside a wheel, or the environment's own in a conda environment."""
    for folder in (Path(torch.__file__).parent / name, Path(sys.prefix) / name):
        if (folder / holds).exists():
            return folder
    pytest.skip(f"torch's {name} folder has no {holds}: the device kernels cannot be compiled over the emulator")


def cxx_compiler() -> str:
    """The first of CXX, g++, c++, clang++ on PATH; skips the test where there is none."""
    for name in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        if name and shutil.which(name):
            return name
    pytest.skip("no C++ compiler on PATH (CXX, g++, c++, clang++): nothing can be emulated")


def _key(compiler: str) -> str:
    headers = [file for folder in ("csrc", "tests/device/emulator") for file in (ROOT / folder).rglob("*.h")]
    digest = hashlib.sha256(f"{compiler} {torch.__version__} {torch.__file__} {FLAGS}".encode())
    for file in [*sources(), *sorted(headers)]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[:8000]}"


@functools.cache
def try_build() -> Path | AssertionError:
    """The library or why there is none, so that a failed compilation is not repeated by every test."""
    try:
        return build()
    except AssertionError as error:
        return error


def build() -> Path:
    """The library; compiled only where the sources have changed since."""
    compiler = cxx_compiler()
    headers = _torch_folder("include", "torch/csrc/stable/library.h")
    libraries = _torch_folder("lib", "libtorch_cpu.so")
    library = ROOT / "build" / "device_emulator" / f"{_key(compiler)}.so"
    if library.exists():
        return library
    scratch = library.with_suffix(f".{uuid.uuid4().hex}")
    scratch.mkdir(parents=True)
    try:
        includes = ["-Icsrc", "-Itests/device/emulator", "-isystem", str(headers)]
        objects = {file: scratch / f"{i}.o" for i, file in enumerate(sources())}
        commands = [
            [compiler, *FLAGS, *includes, "-x", "c++", "-c", str(source), "-o", str(made)]
            for source, made in objects.items()
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        made = scratch / "emulated.so"
        search = ["-L", str(libraries), "-ltorch_cpu", "-Wl,--no-undefined", f"-Wl,-rpath,{libraries}"]
        _run([compiler, "-shared", "-o", str(made), *map(str, objects.values()), *search])
        made.rename(library)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for old in sorted(library.parent.glob("*.so"), key=lambda file: file.stat().st_mtime)[:-3]:
        old.unlink()
    return library


def cpu_schemas() -> list[tuple[str, str]]:
    """(namespace, schema) of the ops that the CPU has, too, from the sources of its bindings."""
    text = "".join(file.read_text() for file in sorted((ROOT / "csrc" / "bindings").glob("*.cpp")))
    fragments = re.findall(r"STABLE_TORCH_LIBRARY_FRAGMENT\((\w+), m\)(.*?)\n}", text, re.DOTALL)
    return [
        (namespace, "".join(re.findall(r'"([^"]*)"', literals)))
        for namespace, body in fragments
        for literals in re.findall(r'm\.def\(((?:\s*"[^"]*")+)\)', body)
    ]


@functools.cache
def load() -> ctypes.CDLL:
    """Build, load, and define the ops whose schemas are not in the device bindings."""
    library = try_build()
    if isinstance(library, AssertionError):
        raise library
    torch.ops.load_library(library)
    for namespace, schema in cpu_schemas():
        name = f"{namespace}_emulated"
        if not torch._C._jit_get_schemas_for_operator(f"{name}::{schema.split('(')[0]}"):
            registry = _libraries.setdefault(name, torch.library.Library(name, "FRAGMENT"))
            registry.define(schema)
    return ctypes.CDLL(str(library))


_libraries: dict[str, torch.library.Library] = {}


@contextlib.contextmanager
def capture() -> Iterator[Callable[[], None]]:
    """Launches inside are a graph's: they run when what this gives is called, after that. Copies are made at once."""
    library = load()
    library.emulator_capture(True)
    try:
        yield library.emulator_replay
    finally:
        library.emulator_capture(False)


def configure(wave_size: int, order: str) -> None:
    """Lanes of a wave (32 or 64) and the order in which the threads of a block take turns."""
    load().emulator_configure(wave_size, ORDERS[order])
