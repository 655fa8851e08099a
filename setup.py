"""Builds the native extensions with CMake; everything else about the package is in pyproject.toml."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def read_requirements(name: str) -> list[str]:
    """Requirement lines of requirements/NAME.txt, with the files that it includes by ``-r``."""
    lines: list[str] = []
    for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            lines += read_requirements(line.removeprefix("-r ").strip().removesuffix(".txt"))
        elif line:
            lines.append(line)
    return lines


class CMakeExtension(Extension):
    """A target of CMakeLists.txt, named by its import path; it uses no CPython API, so it suits every Python."""

    def __init__(self, name: str) -> None:
        super().__init__(name, sources=[], py_limited_api=True)


class cmake_build_ext(build_ext):
    """Configures once, builds the requested targets, installs each where setuptools wants it.

    Environment: ``CMAKE_ARGS`` (extra configure arguments), ``CMAKE_BUILD_TYPE``, ``MAX_JOBS`` (compile processes),
    ``VERBOSE``.
    """

    def run(self) -> None:
        if shutil.which("cmake") is None:
            sys.exit("vllm: cmake is not on PATH; install cmake >= 3.25 and ninja to build the kernels")
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        self._configure(build)
        targets = [extension.name.rpartition(".")[2] for extension in self.extensions]
        command = ["cmake", "--build", str(build), "--target", *targets]
        if os.environ.get("MAX_JOBS"):
            command += ["--parallel", os.environ["MAX_JOBS"]]
        if os.environ.get("VERBOSE"):
            command.append("--verbose")
        subprocess.run(command, check=True)
        prefix = ROOT if self.inplace else Path(self.build_lib).resolve()
        for target in targets:
            subprocess.run(
                ["cmake", "--install", str(build), "--prefix", str(prefix), "--component", target], check=True
            )

    def _configure(self, build: Path) -> None:
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        subprocess.run(
            [
                "cmake", "-S", str(ROOT), "-B", str(build), *generator,
                f"-DCMAKE_BUILD_TYPE={os.environ.get('CMAKE_BUILD_TYPE', 'Release')}",
                f"-DVLLM_PYTHON_EXECUTABLE={sys.executable}",
                *shlex.split(os.environ.get("CMAKE_ARGS", "")),
            ],
            check=True,
        )  # fmt: skip

    def get_outputs(self) -> list[str]:
        return [self.get_ext_fullpath(extension.name) for extension in self.extensions]


setup(
    install_requires=read_requirements("cpu"),
    ext_modules=[CMakeExtension("vllm._C")],
    cmdclass={"build_ext": cmake_build_ext},
    # CPython's limited API is not even used: the wheel serves 3.10 and every later Python.
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
