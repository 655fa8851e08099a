"""scripts/build: render, plan, or build recipes into the local channel."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from tooling import recipes
from tooling.checks import require_writable
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.locks import exclusive
from tooling.progress import Progress


class Parser(argparse.ArgumentParser):
    """Reports errors as every command here does."""

    def error(self, message: str):
        raise UserError(f"{message} (see scripts/build --help)")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = Parser(prog="scripts/build", description="Build recipes into the local channel.", allow_abbrev=False)
    result.add_argument("--lane", metavar="L", help=f"lane to build (default: {recipes.DEFAULT_LANE})")
    result.add_argument("--recipe", metavar="R", help="recipe to build (default: all)")
    result.add_argument("--all", action="store_true", help="every recipe in every lane")
    result.add_argument("--render", action="store_true", help="print what would be built, as a table")
    result.add_argument("--dry-run", action="store_true", help="print each step instead of doing it")
    return result


def selection(root: Path, options: argparse.Namespace) -> list[tuple[str, str]]:
    """The (recipe, lane) pairs that the command line asks for."""
    known_recipes, known_lanes = recipes.known_recipes(root), recipes.known_lanes(root)
    if options.all and options.lane:
        raise UserError("--all builds every lane: leave out --lane, or leave out --all")
    names = [recipes.choose("recipe", options.recipe, known_recipes)] if options.recipe else known_recipes
    lanes = known_lanes if options.all else [recipes.choose("lane", options.lane or recipes.DEFAULT_LANE, known_lanes)]
    return list(itertools.product(names, lanes))


def table(root: Path, pairs: list[tuple[str, str]]) -> list[str]:
    """One line an output: lane, platform, package, version, build string."""
    rows = [("LANE", "PLATFORM", "PACKAGE", "VERSION", "BUILD")]
    for recipe, lane in pairs:
        for output in recipes.render(root, recipe, lane):
            rows.append((lane, output.subdir, output.name, output.version, output.build))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def main(arguments: list[str]) -> int:
    """Run with the command line's arguments."""
    layout = Layout.from_environment()
    options = parser().parse_args(arguments)
    pairs = selection(layout.root, options)
    if options.render:
        print(*table(layout.root, pairs), sep="\n")
        return 0
    if options.dry_run:
        from tooling.channels import describe_choice

        print(f"channel: {describe_choice()}")
        for recipe, lane in pairs:
            names = ", ".join(output.file_name for output in recipes.render(layout.root, recipe, lane))
            print(f"build: recipes/{recipe} in lane {lane} -> {names}, unless current")
        print(f"publish: index {layout.channel}")
        return 0
    return build_all(layout, pairs)


def build_all(layout: Layout, pairs: list[tuple[str, str]]) -> int:
    """Build what is not current and say where each package is."""
    from tooling import builder
    from tooling.channels import base_channel

    progress = Progress(layout.new_log("build"))
    require_writable(layout.home)
    with exclusive(layout.lock, progress):
        base = base_channel(layout, progress)
        for job in (builder.Job(recipe, lane, base) for recipe, lane in pairs):
            if builder.is_published(layout, job):
                progress.say(f"{job.recipe} in lane {job.lane}: unchanged, in {layout.channel}")
                continue
            for file in builder.build(layout, job, progress):
                progress.say(f"{file} ({file.stat().st_size / 1e6:.2f} MB)")
    return 0
