"""Runs CMake: functions of cmake/ in script mode, and small projects that use them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.checkout import ROOT

CMAKE_FOLDER = ROOT / "cmake"
HEADER = f"cmake_minimum_required(VERSION 3.25)\ninclude({CMAKE_FOLDER}/utils.cmake)\n"

VARIABLES = (
    "VLLM_TARGET_DEVICE", "TORCH_CUDA_ARCH_LIST", "PYTORCH_ROCM_ARCH", "NVCC_THREADS", "VLLM_CUTLASS_SRC_DIR",
    "CUDAFLAGS", "HIPFLAGS", "CMAKE_ARGS", "VLLM_CPU_BASELINE", "VLLM_CPU_DISABLE_AVX512", "VLLM_CPU_AVX512BF16",
    "VLLM_CPU_AVX512VNNI", "VLLM_CPU_AVXVNNI", "VLLM_CPU_AMXBF16", "PREFIX", "CONDA_BUILD", "CXXFLAGS", "LDFLAGS",
)  # fmt: skip
"""What the environment can tell the build; tests start without any of it."""


def program(name: str) -> str:
    """The path of a program that a test needs; skips the test where the machine has none."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        pytest.skip(f"{name} is not on PATH")
    return path


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would change the build, then with `changes`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {k: v for k, v in os.environ.items() if k not in VARIABLES} | {"PATH": path} | changes


def cmake(*arguments: str | Path, **changes: str) -> subprocess.CompletedProcess:
    """Run cmake; output and errors are in `stdout`, with the line breaks that CMake puts into messages undone."""
    command = [program("cmake"), *map(str, arguments)]
    done = subprocess.run(
        command, env=environment(**changes), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    done.stdout = " ".join(done.stdout.split()) if done.returncode else done.stdout
    return done


def script(folder: Path, code: str, **changes: str) -> subprocess.CompletedProcess:
    """Run `code` in script mode with cmake/utils.cmake included."""
    file = folder / "script.cmake"
    file.write_text(HEADER + code)
    return cmake("-P", file, **changes)


def value(folder: Path, call: str, variable: str = "out", **changes: str) -> str:
    """What `variable` holds after `call`."""
    done = script(folder, f'{call}\nfile(WRITE "{folder}/value" "${{{variable}}}")\n', **changes)
    assert done.returncode == 0, done.stdout
    return (folder / "value").read_text()


def refusal(folder: Path, call: str, **changes: str) -> str:
    """The message with which `call` ends the configuration."""
    done = script(folder, call, **changes)
    assert done.returncode != 0, f"{call} was accepted: {done.stdout}"
    return done.stdout


def configure(project: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess:
    """Configure the project in `project` into its build/ with Ninja."""
    program("ninja")
    return cmake("-S", project, "-B", project / "build", "-G", "Ninja", *arguments, **changes)
