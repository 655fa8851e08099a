"""The matrix: every recipe in every lane, as pairs to build and as a table to read."""

from __future__ import annotations

from pathlib import Path

from tooling.building.builder import last_build
from tooling.layout import Layout
from tooling.planning.lanes import default_lane, known_lanes
from tooling.planning.recipes import Output, render

HEADER = ("LANE", "PLATFORM", "PACKAGE", "VERSION", "BUILD", "SIZE", "TIME")

Pair = tuple[str, str]
"""A recipe and a lane."""


def lanes_in_order(root: Path) -> list[str]:
    """Every lane, this machine's own first."""
    own = default_lane(root)
    return sorted(known_lanes(root), key=lambda lane: (lane != own, lane))


def rendered(root: Path, recipes: list[str], lanes: list[str]) -> dict[Pair, list[Output]]:
    """What each recipe makes in each lane. A package that several lanes make alike is only in the first of them."""
    made: set[tuple[str, str]] = set()
    result: dict[Pair, list[Output]] = {}
    for lane in lanes:
        for recipe in recipes:
            outputs = render(root, recipe, lane)
            new = [output for output in outputs if (output.subdir, output.file_name) not in made]
            made |= {(output.subdir, output.file_name) for output in outputs}
            if new:
                result[recipe, lane] = new
    return result


def table(layout: Layout, recipes: list[str], lanes: list[str]) -> list[str]:
    """One line an output, with the size of its package and the time of the lane's build when it was last built."""
    rows = [HEADER]
    for (recipe, lane), outputs in rendered(layout.root, recipes, lanes).items():
        record = last_build(layout, recipe, lane)
        time = f"{record['seconds']:.0f} s" if "seconds" in record else "-"
        for output in outputs:
            size = _size(record.get("sizes", {}), output)
            shown = f"{size / 1e6:.2f} MB" if size else "-"
            rows.append((lane, output.subdir, output.name, output.version, output.build, shown, time if size else "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _size(sizes: dict[str, int], output: Output) -> int | None:
    """Bytes of the package as it was last built: its hash may have changed since, its lane and name have not."""
    start = f"{output.subdir}/{output.name}-{output.version}-{output.build.partition('_h')[0]}"
    return next((size for file, size in sizes.items() if file.startswith(start)), None)
