"""The device that a build is for, and the version that says so."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

DEVICES = ("cuda", "rocm", "cpu", "tpu", "xpu", "empty")
COMPILED = {"cuda", "rocm", "cpu"}
"""Devices with kernels to compile."""


def torch_versions() -> dict[str, str]:
    """{"cuda": "13.0"}, {"hip": "7.2.1"} or {} as the installed torch was built for; read without importing torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return {}
    version = Path(spec.submodule_search_locations[0]) / "version.py"
    text = version.read_text() if version.exists() else ""
    found = re.findall(r"^(cuda|hip)\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return dict(found)


def detect_device(torch: dict[str, str]) -> str:
    """What a torch is for, provided that the compiler for it is here: a GPU's torch alone does not compile kernels."""
    if "cuda" in torch and nvcc():
        return "cuda"
    if "hip" in torch and (os.environ.get("ROCM_PATH") or shutil.which("hipcc") or shutil.which("amdclang++")):
        return "rocm"
    return "cpu"


def target_device() -> str:
    """VLLM_TARGET_DEVICE, in letters of either case, else what this environment can compile for.

    Raises:
        ValueError: VLLM_TARGET_DEVICE is none of DEVICES.
    """
    given = os.environ.get("VLLM_TARGET_DEVICE", "")
    if not given:
        return detect_device(torch_versions())
    device = given.lower()
    if device not in DEVICES:
        raise ValueError(f"VLLM_TARGET_DEVICE is '{given}': set it to one of {', '.join(DEVICES)}, or unset it")
    return device


def nvcc() -> str | None:
    """The CUDA compiler: CUDACXX, perhaps with flags, the one on PATH, or the one in CUDA_HOME or CUDA_PATH."""
    homes = filter(None, map(os.environ.get, ("CUDA_HOME", "CUDA_PATH")))
    found = (shutil.which("nvcc", path=path) for path in (None, *(f"{home}/bin" for home in homes)))
    return os.environ.get("CUDACXX") or next(filter(None, found), None)


def nvcc_version() -> str | None:
    """major.minor of the CUDA compiler; None where there is none.

    Raises:
        ValueError: CUDACXX is no program.
    """
    compiler = nvcc()
    if compiler is None:
        return None
    try:
        done = subprocess.run([*shlex.split(compiler), "--version"], capture_output=True, text=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"CUDACXX is '{compiler}', which does not run ({error}): set it to nvcc, or unset it"
        ) from None
    match = re.search(r"release (\d+\.\d+)", done.stdout)
    return match.group(1) if match else None


def version_suffix(device: str) -> str:
    """What a local version tells about the device: cu130, rocm72, cpu, tpu, xpu or empty.

    The CUDA version that VLLM_MAIN_CUDA_VERSION names has none: it is the one that a plain `pip install vllm` gives.
    """
    if device == "cuda":
        version = nvcc_version() or torch_versions().get("cuda") or ""
        digits = "".join(version.split(".")[:2])
        main = "".join(os.environ.get("VLLM_MAIN_CUDA_VERSION", "").split(".")[:2])
        return "" if digits == main else f"cu{digits}"
    if device == "rocm":
        version = os.environ.get("ROCM_VERSION") or torch_versions().get("hip") or ""
        return "rocm" + "".join(version.split(".")[:2])
    return device
