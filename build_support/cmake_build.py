"""build_ext by CMake."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext

from build_support.compile_jobs import max_jobs
from build_support.target_device import nvcc, target_device

ROOT = Path(__file__).resolve().parent.parent
MAY_GO = ("CMAKE_MAKE_PROGRAM", "CMAKE_CXX_COMPILER", "CMAKE_CUDA_COMPILER", "VLLM_COMPILER_CACHE_PROGRAM",
          "VLLM_CUTLASS_INCLUDE_DIR", "VLLM_HIP_COMPILER", "VLLM_HIP_LIBRARY", "VLLM_TORCH_INCLUDE_DIR")  # fmt: skip
"""Files and folders that CMake keeps the paths of."""

LAUNCHED = 32
"""Compilers that may wait for their turn at once; build_support/compile_jobs.py decides how many of them run."""

MODULES = {
    "cpu": ["vllm._C"],
    "cuda": ["vllm._C", "vllm._moe_C", "vllm.cumem_allocator", "vllm.vllm_flash_attn._vllm_fa2_C",
             "vllm.vllm_flash_attn._vllm_fa3_C", "vllm._flashmla_C", "vllm.deep_gemm._deepgemm_C",
             "vllm.flashinfer._flashinfer_C"],
    "rocm": ["vllm._C", "vllm._moe_C", "vllm._rocm_C", "vllm.cumem_allocator"],
}  # fmt: skip
"""Modules that a device can have; CMake defines those of them whose sources are here."""


class CMakeExtension(Extension):
    """A target of CMakeLists.txt, named by its import path; it uses no CPython API, so it suits every Python.

    One that CMake does not define for this device is left out, so it is optional.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, sources=[], py_limited_api=True, optional=True)

    @property
    def target(self) -> str:
        """The CMake target, and the component that installs it."""
        return self.name.rpartition(".")[2]


def extensions(device: str) -> list[CMakeExtension]:
    """Every extension that a build for `device` may have."""
    return [CMakeExtension(name) for name in MODULES.get(device, [])]


def kept_folder(plat_name: str) -> Path:
    """Where setuptools builds extensions when it is not told otherwise; what is compiled there is kept."""
    return ROOT / "build" / f"temp.{plat_name}-{sys.implementation.cache_tag}"


def generator() -> list[str]:
    """CMake's arguments that choose the build tool; its default where there is no ninja."""
    return ["-G", "Ninja"] if shutil.which("ninja") else []


def configure_arguments() -> list[str]:
    """CMAKE_ARGS, split as a shell would.

    Raises:
        ValueError: that cannot be done.
    """
    text = os.environ.get("CMAKE_ARGS", "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"CMAKE_ARGS is '{text}' ({error}): quote it as for a shell") from None


def drop_stale_cache(build: Path, root: Path = ROOT) -> None:
    """Forget a configuration that CMake would refuse, or that names what is gone. What was compiled stays.

    Tools and torch go with pip's isolated environments, the sources with a checkout that moves, and ninja may come.
    """
    cache = build / "CMakeCache.txt"
    if not cache.exists():
        return
    entries = cached_entries(cache)
    gone = any(os.path.isabs(path) and not os.path.exists(path) for path in map(entries.get, MAY_GO) if path)
    moved = entries.get("CMAKE_HOME_DIRECTORY") not in (None, str(root))
    other = bool(generator()) and entries.get("CMAKE_GENERATOR") not in (None, "Ninja")
    if gone or moved or other:
        cache.unlink()
        for found in build.glob("CMakeFiles/[0-9]*"):  # what is known of compilers, by CMake's version
            shutil.rmtree(found)


def cached_entries(cache: Path) -> dict[str, str]:
    """Value by name of a CMakeCache.txt."""
    lines = (line.partition("=") for line in cache.read_text().splitlines() if "=" in line)
    return {name.partition(":")[0]: value for name, _, value in lines}


class cmake_build_ext(build_ext):
    """Configures once, builds the targets that are defined, installs each where setuptools wants it.

    Environment: CMAKE_ARGS (extra configure arguments), CMAKE_BUILD_TYPE, MAX_JOBS (compile processes), NVCC_THREADS,
    VERBOSE, and all that CMakeLists.txt names.
    """

    def run(self) -> None:
        if not self.extensions:
            return
        self._check_tools()
        # An editable installation names a folder that is deleted afterwards: nothing could be built upon.
        build = kept_folder(self.plat_name) if self.editable_mode else Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        drop_stale_cache(build)
        self._configure(build)
        self._keep_defined(build)
        targets = [extension.target for extension in self.extensions]
        verbose = ["--verbose"] if os.environ.get("VERBOSE") not in (None, "", "0") else []
        self._call("cmake", "--build", str(build), "--parallel", str(self._launched()), *verbose, "--target", *targets)
        prefix = ROOT if self.inplace else Path(self.build_lib).resolve()
        for target in targets:
            self._call("cmake", "--install", str(build), "--prefix", str(prefix), "--component", target)

    def _check_tools(self) -> None:
        if shutil.which("cmake") is None:
            sys.exit("vllm: cmake is not on PATH; install cmake >= 3.26 and ninja to build the kernels")
        try:
            max_jobs()
            configure_arguments()
        except ValueError as error:
            sys.exit(f"vllm: {error}")

    def _launched(self) -> int:
        """How many compilers the build tool starts: all wait in one queue, which runs the heaviest first."""
        return max(LAUNCHED, max_jobs() or 0)

    def _configure(self, build: Path) -> None:
        if target_device() == "cuda" and (compiler := nvcc()):
            os.environ["CUDACXX"] = compiler  # CMake itself looks on PATH only
        self._call(
            "cmake", "-S", str(ROOT), "-B", str(build), *generator(),
            f"-DCMAKE_BUILD_TYPE={os.environ.get('CMAKE_BUILD_TYPE') or 'Release'}",
            f"-DVLLM_TARGET_DEVICE={target_device()}",
            f"-DVLLM_PYTHON_EXECUTABLE={sys.executable}",
            *configure_arguments(),
        )  # fmt: skip

    def _keep_defined(self, build: Path) -> None:
        """Leave out what CMake did not define: the list of installed components is a line of the install script."""
        defined = (build / "cmake_install.cmake").read_text()
        self.extensions = [e for e in self.extensions if f'CMAKE_INSTALL_COMPONENT STREQUAL "{e.target}"' in defined]

    def _call(self, *command: str) -> None:
        """Run a build step; its own output says what is wrong, so a failure adds one line and no traceback."""
        status = subprocess.run(command).returncode
        if status:
            sys.exit(f"vllm: `{shlex.join(command[:3])} ...` failed with exit status {status}; its output is above")

    def get_outputs(self) -> list[str]:
        return [self.get_ext_fullpath(extension.name) for extension in self.extensions]
