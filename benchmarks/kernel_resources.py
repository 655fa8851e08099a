#!/usr/bin/env python3
"""Registers, spills and shared memory of every CUDA kernel, as ptxas reports them; nothing is run.

    python benchmarks/kernel_resources.py [--arch 9.0a] [--max-spill BYTES] [FILE.cu ...]

Compiles the sources (default: all under csrc/) for one architecture. A spill is a register kept in local memory;
more bytes of it than --max-spill in any kernel make the exit status 1. --log reads a build's output of `-Xptxas -v`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Registers of an SM over threads of a block give how many blocks fit: the figure beside each kernel is threads an SM.
REGISTERS_OF_AN_SM = 65536
THREADS_OF_AN_SM = 2048


@dataclass(frozen=True)
class Kernel:
    name: str
    registers: int
    stack: int  # bytes, as the next two
    spill: int
    shared: int

    @property
    def threads(self) -> int:
        """Threads that fit into an SM by registers alone, which are given out in blocks of 8 a thread."""
        return min(THREADS_OF_AN_SM, REGISTERS_OF_AN_SM // (-(-self.registers // 8) * 8))


def demangle(names: list[str]) -> list[str]:
    """Without namespaces; unchanged where there is no c++filt."""
    if not names or not shutil.which("c++filt"):
        return names
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    short = (re.sub(r"vllm::device::|\(anonymous namespace\)::|^void ", "", line) for line in done.stdout.splitlines())
    return [re.sub(r"\(.*\)$", "", re.sub(r"\((?:int|bool|[\w:]*)\)(?=\d)", "", line)) for line in short]


ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\S+)'.*?(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?:.*?(?P<shared>\d+) bytes smem)?",
    re.DOTALL,
)


def parse(log: str) -> list[Kernel]:
    """Kernels in what `nvcc -Xptxas -v` wrote."""
    entries = [ENTRY.search("Compiling entry" + part) for part in log.split("Compiling entry")[1:]]
    found = [entry for entry in entries if entry]
    names = demangle([entry["name"] for entry in found])
    return [
        Kernel(
            name, int(e["registers"]), int(e["stack"]), max(int(e["stores"]), int(e["loads"])), int(e["shared"] or 0)
        )
        for name, e in zip(names, found, strict=True)
    ]


def cutlass_headers() -> Path | None:
    """Of VLLM_CUTLASS_SRC_DIR, or of PyPI's nvidia-cutlass."""
    if folder := os.environ.get("VLLM_CUTLASS_SRC_DIR"):
        return Path(folder) / "include"
    wheel = importlib.util.find_spec("cutlass_library")
    return Path(wheel.submodule_search_locations[0]) / "source/include" if wheel else None


def compilable(sources: list[Path], arch: str) -> list[Path]:
    """Those that compile for `arch` with the headers at hand; says which do not."""
    left = [source for source in sources if "hopper" not in source.parts]
    if arch == "9.0a" and cutlass_headers():
        return sources
    if left != sources:
        print("kernel_resources: left out csrc/hopper, which takes --arch 9.0a and CUTLASS's headers "
              "(pip install nvidia-cutlass, or VLLM_CUTLASS_SRC_DIR)", file=sys.stderr)  # fmt: skip
    return left


def compile_log(source: Path, arch: str) -> str:
    """What ptxas says of one source."""
    include = ["-I", str(ROOT / "csrc")]
    if "hopper" in source.parts:
        include += ["-isystem", str(cutlass_headers()), "--expt-relaxed-constexpr"]
    with tempfile.TemporaryDirectory() as folder:
        flags = ["-std=c++17", "-O3", "-DNDEBUG", f"-arch=sm_{arch.replace('.', '')}", "-Xptxas", "-v", *include]
        command = ["nvcc", *flags, "-cubin", str(source), "-o", str(Path(folder) / "out.cubin")]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"kernel_resources: nvcc cannot compile {source} for {arch}:\n{done.stderr}")
    return done.stderr


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="*", type=Path, help="CUDA sources (default: all under csrc/)")
    parser.add_argument("--arch", default="9.0a", help="architecture as in TORCH_CUDA_ARCH_LIST")
    parser.add_argument("--max-spill", type=int, help="bytes of spilled registers that a kernel may have")
    parser.add_argument("--log", type=Path, help="read this output of `nvcc -Xptxas -v` instead of compiling")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if not options.log and not shutil.which("nvcc"):
        sys.exit("kernel_resources: nvcc is not on PATH; install CUDA's compiler or pass --log with a build's output")
    logs = [options.log.read_text()] if options.log else None
    sources = compilable(options.sources or sorted((ROOT / "csrc").rglob("*.cu")), options.arch)
    kernels = [
        kernel for log in logs or (compile_log(source, options.arch) for source in sources) for kernel in parse(log)
    ]
    print(f"{'registers':>9} {'threads':>7} {'spill B':>7} {'stack B':>7} {'shared B':>8}  kernel")
    for k in sorted(kernels, key=lambda k: (-k.spill, -k.registers, k.name)):
        print(f"{k.registers:>9} {k.threads:>7} {k.spill:>7} {k.stack:>7} {k.shared:>8}  {k.name}")
    over = [k for k in kernels if options.max_spill is not None and k.spill > options.max_spill]
    if over:
        sys.exit(f"kernel_resources: {len(over)} kernels spill more than {options.max_spill} bytes; see the first rows")


if __name__ == "__main__":
    main()
