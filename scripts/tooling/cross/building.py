"""Builds Highway, the kernel runner and vllm's kernels for another CPU, with the project's own CMake files."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tooling.cross.targets import Cpu, Target
from tooling.errors import UserError
from tooling.failures import first_error
from tooling.layout import Layout
from tooling.progress import Progress

HIGHWAY = "numpy/_core/src/highway"
HIGHWAY_OPTIONS = ("BUILD_SHARED_LIBS=ON", "BUILD_TESTING=OFF", "HWY_ENABLE_TESTS=OFF", "HWY_ENABLE_EXAMPLES=OFF",
                   "HWY_ENABLE_CONTRIB=OFF")  # fmt: skip
# Highway's own run-time detection is compiled only where the baseline has vectors.
HIGHWAY_FLAGS = {"s390x": "-march=z14 -mzvector", "ppc64le": "-mcpu=power8"}


@dataclass(frozen=True)
class Build:
    """What building for one CPU takes.

    Attributes:
        compiler: folder that ensure_compiler made.
        python: has torch, whose headers are compiled against.
        environment: variables with cmake and ninja on PATH.
        cpu: what it runs on.
        families: the kernels to build, all where empty.
    """

    layout: Layout
    progress: Progress
    target: Target
    compiler: Path
    python: Path
    environment: dict[str, str]
    cpu: Cpu
    families: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Of this build alone."""
        own = self.cpu.name if self.cpu.flags else ""
        parts = (self.target.arch, self.cpu.baseline, own, *self.families)
        return self.layout.home / "cross" / "-".join(part for part in parts if part)

    @property
    def prefix(self) -> Path:
        """Where everything is installed."""
        return self.folder / "prefix"

    @property
    def library(self) -> Path:
        """vllm's kernels."""
        return self.prefix / "vllm" / "_C.abi3.so"

    def runner_command(self, emulator: Path, cpu: Cpu, library: Path | None = None) -> list[str]:
        """The command line that runs the kernels of `library` on `cpu`."""
        system_root = self.compiler / ("" if self.target.arch == "x86_64" else f"usr/{self.target.triplet}")
        return [
            *(str(emulator), "-cpu", cpu.model, "-L", str(system_root)),
            *("-E", f"LD_LIBRARY_PATH={self.prefix}/lib:{system_root}/usr/lib/{self.target.triplet}"),
            *(str(self.prefix / "bin" / "kernel_runner"), str(library or self.library)),
        ]

    def run(self, kernels: bool = True) -> None:
        """Build what has changed; without `kernels` only what runs a library that was built elsewhere."""
        highway = highway_source(self.layout, self.progress)
        include = Path(self._ask("import torch; print(torch.__path__[0])")) / "include"
        if not (self.prefix / "lib" / "libhwy.so").exists():
            flags = HIGHWAY_FLAGS.get(self.target.arch, "")
            self._cmake("Highway", highway, *HIGHWAY_OPTIONS, f"CMAKE_CXX_FLAGS={flags}", "CMAKE_INSTALL_LIBDIR=lib")
        self._cmake("the kernel runner", self.layout.root / "tests/cross/runner", f"TORCH_INCLUDE_DIR={include}")
        if kernels:
            self._build_kernels(include)

    def _build_kernels(self, include: Path) -> None:
        torch = self.prefix / "torch"
        torch.mkdir(exist_ok=True)
        for name, place in (("include", include), ("lib", self.prefix / "lib")):
            (torch / name).unlink(missing_ok=True)
            (torch / name).symlink_to(place)
        flags = " ".join([f"-I{self.layout.root / 'tests/cross'}", *self.cpu.flags])
        self._cmake(
            "vllm._C",
            self.layout.root,
            f"VLLM_PYTHON_EXECUTABLE={self.python}",
            f"VLLM_TORCH_DIR={torch}",
            f"CMAKE_PREFIX_PATH={self.prefix}",
            f"VLLM_CPU_BASELINE={self.cpu.baseline}",
            f"CMAKE_CXX_FLAGS={flags}",
            "VLLM_TARGET_DEVICE=cpu",
            *([f"VLLM_CPU_FAMILIES={';'.join(self.families)}"] if self.families else []),
        )

    def _cmake(self, what: str, source: Path, *definitions: str) -> None:
        build = self.folder / what.split()[-1]
        # Named, because the environment that an earlier configuration found it in may have been replaced.
        ninja = shutil.which("ninja", path=self.environment.get("PATH"))
        configure = ["cmake", "-S", str(source), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                     *([f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []),
                     f"-DCMAKE_TOOLCHAIN_FILE={self.layout.root}/tests/cross/toolchain.cmake",
                     f"-DVLLM_CROSS_ROOT={self.compiler}", f"-DVLLM_CROSS_TRIPLET={self.target.triplet}",
                     f"-DCMAKE_INSTALL_PREFIX={self.prefix}", *(f"-D{each}" for each in definitions)]  # fmt: skip
        with self.progress.step(f"Building {what} for {self.folder.name}") as step:
            for command in (configure, ["cmake", "--build", str(build)], ["cmake", "--install", str(build)]):
                output = []
                process = subprocess.Popen(
                    command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
                for line in process.stdout:
                    output.append(line)
                    step.log(line)
                    if line.startswith("["):  # ninja's [done/total]
                        done, _, total = line[1:].partition("]")[0].partition("/")
                        step.update(float(done), line.split()[-1], float(total))
                if process.wait():
                    raise UserError(f"{what} does not build for {self.target.arch}: {first_error(''.join(output))}")

    def _ask(self, code: str) -> str:
        done = subprocess.run([self.python, "-c", code], env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"{self.python} has no torch: {first_error(done.stderr)}")
        return done.stdout.strip()


def highway_source(layout: Layout, progress: Progress) -> Path:
    """Highway's sources, out of the NumPy release that the stand-in channel takes them from too."""
    from standin.index import Downloads, read_sources
    from standin.plan import NUMPY_SOURCE

    key = hashlib.blake2b(NUMPY_SOURCE.sha256.encode(), digest_size=5).hexdigest()
    folder = layout.cache / "cross" / f"highway-{key}"
    if folder.is_dir():
        return folder
    with progress.step("Fetching Highway's sources"):
        archive = Downloads(layout.cache / "standin" / "wheels", read_sources()).fetch_pin(NUMPY_SOURCE)
        new = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        with tarfile.open(archive) as tar:
            inside = f"{tar.getnames()[0].partition('/')[0]}/{HIGHWAY}/"
            # Pythons before 3.11.4 know no filters; the archive is the one that its digest names.
            options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(new, [m for m in tar.getmembers() if m.name.startswith(inside)], **options)
        (new / inside).rename(folder)
        shutil.rmtree(new)
    return folder
