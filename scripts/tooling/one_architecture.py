"""CUDA kernels compiled for one GPU architecture: shows on every change that they still compile, in minutes."""

from __future__ import annotations

from tooling.building.toolchains import MissingToolchain
from tooling.commands.build import build_one
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.locks import exclusive
from tooling.planning.lanes import overridden
from tooling.planning.recipes import render
from tooling.progress import Progress

LANE = "cuda13"
# The CPU's kernels in it are those of lane `cpu`, which has compiled for AVX-512 what takes longest.
CHOICE = {"TORCH_CUDA_ARCH_LIST": "9.0a", "VLLM_MAIN_CUDA_VERSION": "13.0", "VLLM_CPU_DISABLE_AVX512": "1"}


def compile_cuda(layout: Layout, progress: Progress) -> str:
    """Build and inspect a package apart from the published ones; how that went."""
    apart = Layout(root=layout.root, home=layout.home / "one-architecture", cache=layout.cache)
    with overridden(CHOICE), exclusive(layout.lock, progress):
        try:
            build_one(apart, "vllm", LANE, render(layout.root, "vllm", LANE), progress)
        except MissingToolchain as error:
            return f"skipped ({error})"
        except UserError as error:
            return f"failed ({error})"
    return "passed"
