"""docs/matrix.md: every lane, what it needs, how it is chosen and installed. Rendered, so it cannot be out of date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tooling.building import matrix
from tooling.matrix_page.builds import DEVICES, PACKAGE, PLATFORMS, Build, of_output
from tooling.matrix_page.install import lines
from tooling.planning.lanes import known_lanes, variant_values
from tooling.planning.recipes import Output

FILE = "docs/matrix.md"
ARCHITECTURES = {"vllm_cuda_archs": "CUDA", "vllm_rocm_archs": "ROCm"}

HEAD = """\
# The matrix

Which build of `vllm` is for which machine. Solvers choose by themselves: the CUDA build that the machine's driver runs,
else the CPU build. The others are there for those who name them. `scripts/matrix_page` writes this file from the recipe
in every lane; a channel's `index.html`, made by the same command, lets one choose.
"""

INSTALL = """\
`CHANNEL` is the address or folder of a channel that holds the packages; `scripts/build` makes one in `build/channel`.
pixi solves for the machine that its manifest describes, so it has to be told of a GPU's driver.
"""

BESIDE = """\
Kernels that not every user wants. Each package runs with the `vllm` of its own build only, which solvers see to; `vllm`
says which one to install when something asks for it.
"""


def text(root: Path) -> str:
    """The whole file for the checkout `root`."""
    lanes = sorted(known_lanes(root))
    rendered = matrix.rendered(root, [PACKAGE], lanes)
    builds = {of_output(o): lane for (_, lane), outputs in rendered.items() for o in outputs if o.name == PACKAGE}
    ordered = sorted(builds, key=lambda build: build.order)
    sections = [
        HEAD,
        _table(("lane", "device", "platform", "build string", "chosen", "needs"), _rows(ordered, builds)),
        "## Install\n",
        INSTALL,
        *_install(ordered),
        "## Packages beside vllm\n",
        BESIDE,
        _table(("package", "lanes"), _beside(rendered)),
        "## GPU architectures\n",
        _table(("lane", "device", "compiled for"), _architectures(root, lanes)),
    ]
    return "\n".join(sections)


def _beside(rendered: dict[matrix.Pair, list[Output]]) -> Iterator[tuple[str, str]]:
    """The recipe's other packages, each with the lanes that make it."""
    lanes: dict[str, dict[str, None]] = {}
    for (_, lane), outputs in rendered.items():
        for output in outputs:
            lanes.setdefault(output.name, {})[lane] = None
    for name in sorted(set(lanes) - {PACKAGE}):
        yield f"`{name}`", ", ".join(lanes[name])


def _rows(builds: list[Build], lanes: dict[Build, str]) -> Iterator[tuple[str, ...]]:
    for build in builds:
        chosen = f"by name: `{build.spec}`" if build.by_name else "by the solver"
        pattern = f"`{build.lane}_h*_{build.number}`"
        yield lanes[build], DEVICES[build.device], PLATFORMS[build.platform], pattern, chosen, needs(build)


def needs(build: Build) -> str:
    """What a machine has to have, in words."""
    words = {
        f"a driver for CUDA {build.cuda}": build.cuda,
        f"x86-64-v{build.level}": build.level,
        f"glibc {build.glibc}": build.glibc,
        f"macOS {build.macos}": build.macos,
    }
    return ", ".join(word for word, version in words.items() if version) or "nothing"


def _install(builds: list[Build]) -> Iterator[str]:
    shown = {}
    for build in builds:
        commands = "\n".join(line for client in lines(build).values() for line in client)
        shown.setdefault(commands, []).append(build)
    for commands, alike in shown.items():
        names = dict.fromkeys(build.lane for build in alike)
        yield f"`{'`, `'.join(names)}`\n\n```\n{commands}\n```\n"


def _architectures(root: Path, lanes: list[str]) -> Iterator[tuple[str, str, str]]:
    for lane in lanes:
        for key, name in ARCHITECTURES.items():
            listed = " ".join(variant_values(root, lane, key))
            if listed:
                yield lane, name, listed


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
