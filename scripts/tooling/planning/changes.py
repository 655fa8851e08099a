"""Which lanes a change touches: what continuous integration builds."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from tooling.errors import UserError
from tooling.planning.inputs import recipe_inputs
from tooling.planning.lanes import default_lane, device_of, known_lanes, variant_files

COMPILED = frozenset({"cpu", "cuda", "rocm"})
GPU = frozenset({"cuda", "rocm"})
CUDA = frozenset({"cuda"})
ROCM = frozenset({"rocm"})

DEVICES = {
    "csrc/device/": GPU,
    "csrc/bindings/device/": GPU,
    "csrc/moe/": GPU,
    "csrc/hopper/": GPU,
    "csrc/cumem/": CUDA,
    "csrc/deepgemm/": CUDA,
    "csrc/flash_attn/": CUDA,
    "csrc/flashinfer/": CUDA,
    "csrc/flashmla/": CUDA,
    "csrc/rocm/": ROCM,
    "csrc/": COMPILED,
    "cmake/device_extensions.cmake": GPU,
    "cmake/gpu_architectures.cmake": GPU,
    "cmake/cutlass.cmake": CUDA,
    "cmake/hip.cmake": ROCM,
    "cmake/": COMPILED,
    "CMakeLists.txt": COMPILED,
}
"""Beginnings of paths and the devices that they are compiled for; the first that fits holds."""

BUILDERS = ("scripts/", "recipes/vllm-demo-model/", ".github/workflows/", ".ci/", "requirements/tools.txt")
"""What builds packages without being in them: one lane shows that it still does."""


def lanes_touched(root: Path, paths: Iterable[str]) -> list[str]:
    """The lanes to build after a change of `paths`, relative to `root`."""
    inputs = tuple(recipe_inputs(root, "vllm"))
    return sorted({lane for path in paths for lane in _lanes_of(root, path, inputs)})


def changed_since(root: Path, revision: str) -> list[str]:
    """Paths that differ between the working tree and the point where `revision` and HEAD parted."""
    command = ["git", "-C", str(root), "diff", "--name-only", "--no-renames", "--merge-base", revision]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["git failed"])[0]
        raise UserError(f"what changed since {revision!r} cannot be told: {reason}; give a commit, tag or branch")
    return done.stdout.splitlines()


def _lanes_of(root: Path, path: str, inputs: tuple[str, ...]) -> list[str]:
    lanes = known_lanes(root)
    if path.startswith("recipe-variants/") or path == "conda_build_config.yaml":
        return [lane for lane in lanes if root / path in variant_files(root, lane)]
    for beginning, devices in DEVICES.items():
        if path.startswith(beginning):
            return [lane for lane in lanes if device_of(root, lane) in devices]
    if path.startswith(BUILDERS):
        return [default_lane(root)]
    return lanes if any(fnmatch(path, entry) or path.startswith(f"{entry}/") for entry in inputs) else []
