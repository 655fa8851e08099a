"""Recipes and what they render to in a lane. Rendering plans and explains; `builder` builds."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tooling.errors import UserError
from tooling.planning.inputs import digest, recipe_inputs
from tooling.planning.lanes import (
    NOARCH,
    READ_BY_RECIPES,
    host_platform,
    known_lanes,
    overrides,
    platform_of,
    variant_files,
)

__all__ = ["Output", "choose", "known_lanes", "known_recipes", "recipe_digest", "render", "target_platform"]


@dataclass(frozen=True)
class Output:
    """One package that a recipe makes in one lane."""

    name: str
    version: str
    build: str
    number: int
    subdir: str
    requirements: dict[str, list[str]]
    """Match specs of the build and host environments that it is compiled in, and of what it runs on."""
    constraints: list[str] = field(default_factory=list)
    """Match specs that hold for packages beside it, if they are there."""
    down_prioritized: bool = False
    """Whether solvers take it only when nothing else fits or it is asked for."""

    @property
    def file_name(self) -> str:
        """The package file's name in a channel."""
        return f"{self.name}-{self.version}-{self.build}.conda"


def known_recipes(root: Path) -> list[str]:
    """Names of the folders of recipes/ that hold a recipe."""
    return sorted(file.parent.name for file in (root / "recipes").glob("*/recipe.yaml"))


def choose(kind: str, wanted: str, known: list[str]) -> str:
    """`wanted` if it is one of `known`, else an error that lists them."""
    if wanted not in known:
        raise UserError(f"unknown {kind} {wanted!r}: choose one of {', '.join(known)}")
    return wanted


def recipe_digest(root: Path, recipe: str, lane: str) -> str:
    """Digest of everything in the checkout and the environment that the packages of `recipe` in `lane` depend on."""
    variants = [str(file.relative_to(root)) for file in variant_files(root, lane)]
    replaced = "".join(f" {key}={values}" for key, values in sorted(overrides(root, lane).items()))
    read = "".join(f" {name}={os.environ[name]}" for name in READ_BY_RECIPES if os.environ.get(name))
    return digest(root, [*recipe_inputs(root, recipe), *variants]) + replaced + read


def target_platform(root: Path, lane: str) -> str:
    """The platform that `lane` is compiled for; what runs anywhere is packed as this machine packs it."""
    platform = platform_of(root, lane)
    return host_platform() if platform == NOARCH else platform


def render(root: Path, recipe: str, lane: str, pins: dict[str, list[str]] | None = None) -> list[Output]:
    """What `recipe` makes in `lane`. `pins` replace variant keys, as the environment does (`lanes.OVERRIDES`).

    Errors of either file are reported with its name.
    """
    from rattler_build import JinjaConfig, RattlerBuildError, RenderConfig, Stage0Recipe, VariantConfig
    from rattler_build.tool_config import PlatformConfig

    file = root / "recipes" / recipe / "recipe.yaml"
    target = target_platform(root, lane)
    platform = PlatformConfig(target_platform=target, host_platform=target, build_platform=host_platform())
    try:
        variants = VariantConfig.from_files_with_context(variant_files(root, lane), JinjaConfig(platform=platform))
        replaced = overrides(root, lane) | (pins or {})
        variants = variants.merge(VariantConfig(replaced)) if replaced else variants
        rendered = Stage0Recipe.from_file(file).render(variants, RenderConfig(platform=platform))
    except RattlerBuildError as error:
        raise UserError(f"recipe {recipe!r} does not render in lane {lane!r}: {_one_line(error)} ({file})") from None
    outputs: list[Output] = []
    for variant in rendered:
        output = _output(variant.recipe, target, outputs)
        # A key that only some outputs use renders the others once for each of its values.
        if output not in outputs:
            outputs.append(output)
    return outputs


def _output(recipe, platform: str, earlier: list[Output]) -> Output:
    """One rendered output; `earlier` are those before it, which it may pin."""
    contents = recipe.to_dict()
    stated = contents.get("requirements", {})
    requirements = {
        section: [_match_spec(spec, earlier) for spec in stated.get(section, [])]
        for section in ("build", "host", "run")
    }
    for staging in recipe.staging_caches:
        for section in ("build", "host"):
            requirements[section] += map(str, getattr(staging.requirements, section))
    return Output(
        name=recipe.package.name,
        version=recipe.package.version,
        build=str(recipe.build.string),
        number=int(recipe.build.number or 0),
        subdir=NOARCH if recipe.build.noarch else platform,
        requirements=requirements,
        constraints=[str(spec) for spec in stated.get("run_constraints", [])],
        down_prioritized=bool(contents["build"].get("variant", {}).get("down_prioritize_variant")),
    )


def _match_spec(spec: str | dict, earlier: list[Output]) -> str:
    """A requirement as text; a pin of another output, exact ones only, is resolved to the latest of that name."""
    if isinstance(spec, str):
        return spec
    pinned = spec["pin_subpackage"]["name"]
    output = next(output for output in reversed(earlier) if output.name == pinned)
    return f"{pinned} =={output.version} {output.build}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
