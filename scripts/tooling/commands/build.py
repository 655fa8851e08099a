"""scripts/build: render, plan, or build recipes into the local channel."""

from __future__ import annotations

import argparse
from pathlib import Path

from tooling.building import matrix
from tooling.building.toolchains import MissingToolchain
from tooling.checks import require_writable
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.locks import exclusive
from tooling.planning import recipes
from tooling.planning.lanes import default_lane, known_lanes
from tooling.progress import Progress


class Parser(argparse.ArgumentParser):
    """Reports errors as every command here does."""

    def error(self, message: str):
        raise UserError(f"{message} (see scripts/build --help)")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = Parser(prog="scripts/build", description="Build recipes into the local channel.", allow_abbrev=False)
    result.add_argument("--lane", metavar="L", help="lane to build (default: the one for this machine's every CPU)")
    result.add_argument("--recipe", metavar="R", help="recipe to build (default: all)")
    result.add_argument("--all", action="store_true", help="every recipe in every lane")
    result.add_argument("--render", action="store_true", help="print what would be built, as a table")
    result.add_argument("--dry-run", action="store_true", help="print each step instead of doing it")
    return result


def selection(root: Path, options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The recipes and the lanes that the command line asks for."""
    known = recipes.known_recipes(root)
    if options.all and options.lane:
        raise UserError("--all builds every lane: leave out --lane, or leave out --all")
    names = [recipes.choose("recipe", options.recipe, known)] if options.recipe else known
    if options.all:
        return names, matrix.lanes_in_order(root)
    return names, [recipes.choose("lane", options.lane or default_lane(root), known_lanes(root))]


def main(arguments: list[str]) -> int:
    """Run with the command line's arguments."""
    layout = Layout.from_environment()
    options = parser().parse_args(arguments)
    names, lanes = selection(layout.root, options)
    if options.render:
        print(*matrix.table(layout, names, lanes), sep="\n")
        return 0
    if options.dry_run:
        print(*plan(layout, names, lanes), sep="\n")
        return 0
    return build_all(layout, names, lanes)


def plan(layout: Layout, names: list[str], lanes: list[str]) -> list[str]:
    """What a build would do, one line a step."""
    from tooling.channels import describe_choice

    lines = [f"channel: {describe_choice()}"]
    for (recipe, lane), outputs in matrix.rendered(layout.root, names, lanes).items():
        files = ", ".join(output.file_name for output in outputs)
        lines.append(f"build: recipes/{recipe} in lane {lane} -> {files}, unless current")
    return [*lines, f"publish: index {layout.channel}"]


def build_all(layout: Layout, names: list[str], lanes: list[str]) -> int:
    """Build what is not current and say where each package is; a lane that fails does not keep others from it."""
    progress = Progress(layout.new_log("build"))
    require_writable(layout.home)
    failed: list[UserError] = []
    pairs = matrix.rendered(layout.root, names, lanes)
    with exclusive(layout.lock, progress):
        for number, ((recipe, lane), outputs) in enumerate(pairs.items(), 1):
            if len(pairs) > 1:
                progress.say(f"[{number}/{len(pairs)}] {recipe} in lane {lane}")
            try:
                build_one(layout, recipe, lane, outputs, progress)
            except UserError as error:
                if len(pairs) == 1:
                    raise
                progress.say(f"not built: {error}")
                failed.append(error)
    if failed:
        kind = MissingToolchain if all(isinstance(error, MissingToolchain) for error in failed) else UserError
        raise kind(f"{len(failed)} of {len(pairs)} were not built, each with its reason above; first: {failed[0]}")
    return 0


def build_one(layout: Layout, recipe: str, lane: str, outputs: list[recipes.Output], progress: Progress) -> None:
    """Build `recipe` in `lane` unless what is published is current."""
    from tooling.building import builder
    from tooling.channels import base_channel, preferred_channel

    wanted = {spec for output in outputs for specs in output.requirements.values() for spec in specs}
    # What was built when the preferred channel answered needs neither the network nor a stand-in for it.
    for base in (preferred_channel, lambda: base_channel(layout, progress, sorted(wanted))):
        job = builder.Job(recipe, lane, base())
        if builder.is_published(layout, job):
            progress.say(f"{recipe} in lane {lane}: unchanged, in {layout.channel}")
            return
    for file in builder.build(layout, job, progress):
        progress.say(f"{file} ({file.stat().st_size / 1e6:.2f} MB)")
