"""Print what a bug report needs to know about this machine."""

import argparse
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

_PACKAGES = (
    "torch",
    "numpy",
    "tokenizers",
    "safetensors",
    "jinja2",
    "fastapi",
    "uvicorn",
    "uvloop",
    "pydantic",
    "msgspec",
    "prometheus-client",
    "transformers",
)
_VARIABLES = ("VLLM_", "OMP_", "KMP_", "MKL_", "TORCH_", "HF_", "CUDA_", "CONDA_PREFIX", "LD_PRELOAD")
_INSTRUCTION_SETS = ("sse4_2", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = f"{__doc__} Keys and tokens in environment variables are not shown."


def run(args: argparse.Namespace) -> int:
    sections = {
        "vllm": _vllm(),
        "machine": _machine(),
        "packages": _packages(),
        "environment": _environment(),
    }
    for title, rows in sections.items():
        print(f"{title}:")
        for name, value in rows:
            print(f"  {name:<20} {value}")
    return 0


def _vllm() -> Iterator[tuple[str, object]]:
    import vllm

    yield "version", vllm.__version__
    yield "folder", Path(vllm.__file__).parent
    libraries = sorted(Path(vllm.__file__).parent.glob("_C*.so"))
    yield "kernels", ", ".join(f"{p.name} ({p.stat().st_size / 2**20:.1f} MiB)" for p in libraries) or "not built"


def _machine() -> Iterator[tuple[str, object]]:
    import psutil

    yield "system", platform.platform()
    yield "libc", " ".join(platform.libc_ver())
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "processor", _processor()
    yield "cores", f"{psutil.cpu_count(logical=False)} physical, {len(os.sched_getaffinity(0))} usable"
    memory = psutil.virtual_memory()
    yield "memory", f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB available"
    flags = _processor_flags()
    yield "instruction sets", " ".join(name for name in _INSTRUCTION_SETS if name in flags)


def _processor() -> str:
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _processor_flags() -> set[str]:
    for line in _cpuinfo():
        if line.startswith(("flags", "Features")):
            return set(line.partition(":")[2].split())
    return set()


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _packages() -> Iterator[tuple[str, object]]:
    for name in _PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, "not installed"


def _environment() -> Iterator[tuple[str, object]]:
    for name, value in sorted(os.environ.items()):
        if name.startswith(_VARIABLES):
            is_secret = any(word in name for word in _SECRET_WORDS)
            yield name, "(not shown)" if is_secret else value
