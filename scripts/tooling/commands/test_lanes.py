"""scripts/test_lanes [--update-docs] [LANE ...]: what takes too long for every change, with a table of its figures.

Every lane that the channel has a toolchain for is built, checked and, where this machine can, run; then the tests of
tests/lanes. Lanes whose packages are current are not built again.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from tooling import testing
from tooling.building import matrix
from tooling.building.builder import last_build
from tooling.building.toolchains import MissingToolchain
from tooling.channels import base_channel
from tooling.checks import require_writable
from tooling.commands import build
from tooling.errors import UserError
from tooling.installing.activation import variables
from tooling.layout import Layout
from tooling.locks import exclusive
from tooling.planning.lanes import known_lanes, overridden
from tooling.planning.recipes import choose
from tooling.progress import Progress

USAGE = "scripts/test_lanes [--update-docs] [LANE ...]"
SLOW_TESTS = "tests/lanes"
REQUIREMENTS = "requirements/lanes.txt"
SWITCH = "VLLM_TEST_LANES"
"""Set for the tests, which skip without it."""

STAND_IN_CHOICE = {"PYTORCH_ROCM_ARCH": "gfx90a gfx942 gfx1100 gfx1201"}
"""What a local channel's HIP compiler, perhaps older than ROCm's own, is sure to know; the environment goes first."""

FIGURES = "docs/performance.md"
BEGIN, END = "<!-- lanes: begin -->", "<!-- lanes: end -->"
HEADER = ("lane", "package", "size", "build", "compilers", "their memory", "state")


@dataclass(frozen=True)
class Row:
    """What became of one lane."""

    lane: str
    problem: str
    failed: bool
    record: dict
    """Of the build, as `last_build` gives it."""

    def lines(self) -> list[str]:
        """A table row for each package, or one that says why there is none."""
        if self.problem:
            return [_line(self.lane, *["-"] * 5, f"not built: {self.problem}")]
        record = self.record
        compiled = f"{record['compile_seconds']:.0f} s" if "compile_seconds" in record else "-"
        memory = f"{record['memory_kb'] / 1e6:.1f} GB" if record.get("memory_kb") else "-"
        state = "built, tested" if record.get("tested") else "built, inspected"
        took = [f"{record.get('seconds', 0.0):.0f} s", compiled, memory, state]
        return [
            _line(self.lane, f"`{file.partition('/')[2].removesuffix('.conda')}`", f"{size / 1e6:.2f} MB", *took)
            for file, size in sorted(record.get("sizes", {}).items())
        ]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    """Build the lanes, run the slow tests, print the figures; 1 when a test or a lane with a toolchain failed."""
    if {"-h", "--help"} & set(arguments):
        print(f"usage: {USAGE}")
        return 0
    layout = Layout.from_environment()
    named = [a for a in arguments if a != "--update-docs"]
    lanes = [choose("lane", lane, known_lanes(layout.root)) for lane in named] or matrix.lanes_in_order(layout.root)
    require_writable(layout.home)
    progress = Progress(layout.new_log("test_lanes"))
    local = base_channel(layout, progress).startswith("file:")
    choice = {name: os.environ.get(name, value) for name, value in STAND_IN_CHOICE.items() if local}
    with overridden(choice):
        rows = build_lanes(layout, lanes, progress)
    status = run_tests(layout, progress)
    print(*table([line for row in rows for line in row.lines()]), sep="\n")
    if "--update-docs" in arguments:
        update_figures(layout, rows)
    return status or int(any(row.failed for row in rows))


def build_lanes(layout: Layout, lanes: list[str], progress: Progress) -> list[Row]:
    """Build the vllm recipe in each lane; what became of it."""
    rows = []
    with exclusive(layout.lock, progress):
        for number, ((recipe, lane), outputs) in enumerate(matrix.rendered(layout.root, ["vllm"], lanes).items(), 1):
            progress.say(f"[{number}/{len(lanes)}] {recipe} in lane {lane}")
            problem, failed = "", False
            try:
                build.build_one(layout, recipe, lane, outputs, progress)
            except UserError as error:
                problem, failed = str(error).partition("; ")[0], not isinstance(error, MissingToolchain)
                progress.say(f"not built: {error}")
            record = {} if problem else last_build(layout, recipe, lane)
            rows.append(Row(lane, problem, failed, record))
    return rows


def table(lines: list[str]) -> list[str]:
    """A table of `lines`."""
    return [_line(*HEADER), _line(*["---"] * len(HEADER)), *lines]


def run_tests(layout: Layout, progress: Progress) -> int:
    """Run tests/lanes in the test environment; pytest's exit status."""
    prefix = testing.ensure(layout, progress)
    testing.install_requirements(layout, prefix, progress, REQUIREMENTS)
    environment = variables(prefix) | {"PYTHONSAFEPATH": "1", SWITCH: str(layout.home)}
    command = [str(prefix / "bin" / "python"), "-m", "pytest", "-v", SLOW_TESTS]
    return subprocess.run(command, cwd=layout.root, env=environment).returncode


def update_figures(layout: Layout, rows: list[Row]) -> None:
    """Replace these lanes' lines between the marks in the page of figures, a lane's lines in its place."""
    page = layout.root / FIGURES
    before, begin, rest = page.read_text().partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{page} has no lines '{BEGIN}' and '{END}': put them where the table is to stand")
    new = page.with_name(f".{page.name}.new")
    lanes = {f"| {row.lane} |" for row in rows}
    kept = [line for line in old.splitlines()[3:] if line and not line.startswith(tuple(lanes))]
    lines = kept + [line for row in rows for line in row.lines()]
    places = {lane: place for place, lane in enumerate(matrix.lanes_in_order(layout.root))}
    lines.sort(key=lambda line: places.get(line.split(" | ")[0].removeprefix("| "), len(places)))
    new.write_text("\n".join([before + begin, *table(lines), end + after]))
    os.replace(new, page)
