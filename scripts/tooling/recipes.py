"""Recipes, lanes and what they render to. Rendering plans and explains; `builder` builds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tooling.errors import UserError
from tooling.inputs import digest, recipe_inputs

DEFAULT_LANE = "cpu"
SHARED_PINS = "conda_build_config.yaml"
LANES = "recipe-variants"


@dataclass(frozen=True)
class Output:
    """One package that a recipe makes in one lane."""

    name: str
    version: str
    build: str
    subdir: str
    requirements: dict[str, list[str]]
    """Match specs of the build and host environments that it is compiled in, and of what it runs on."""

    @property
    def file_name(self) -> str:
        """The package file's name in a channel."""
        return f"{self.name}-{self.version}-{self.build}.conda"


def known_recipes(root: Path) -> list[str]:
    """Names of the folders of recipes/ that hold a recipe."""
    return sorted(file.parent.name for file in (root / "recipes").glob("*/recipe.yaml"))


def known_lanes(root: Path) -> list[str]:
    """Names of the lanes, one file of recipe-variants/ each."""
    return sorted(file.stem for file in (root / LANES).glob("*.yaml"))


def choose(kind: str, wanted: str, known: list[str]) -> str:
    """`wanted` if it is one of `known`, else an error that lists them."""
    if wanted not in known:
        raise UserError(f"unknown {kind} {wanted!r}: choose one of {', '.join(known)}")
    return wanted


def variant_files(root: Path, lane: str) -> list[Path]:
    """The files that `-m` would name, in order; a later one replaces whole keys of an earlier one."""
    return [root / SHARED_PINS, root / LANES / f"{lane}.yaml"]


def recipe_digest(root: Path, recipe: str, lane: str) -> str:
    """Digest of everything in the checkout that the packages of `recipe` in `lane` depend on."""
    return digest(root, [*recipe_inputs(root, recipe), SHARED_PINS, f"{LANES}/{lane}.yaml"])


def render(root: Path, recipe: str, lane: str, pins: dict[str, list[str]] | None = None) -> list[Output]:
    """What `recipe` makes in `lane`. `pins` replace variant keys. Errors of either file are reported with its name."""
    from rattler_build import JinjaConfig, RattlerBuildError, RenderConfig, Stage0Recipe, VariantConfig
    from rattler_build.tool_config import PlatformConfig

    file = root / "recipes" / recipe / "recipe.yaml"
    platform = PlatformConfig(target_platform=host_platform())
    try:
        variants = VariantConfig.from_files_with_context(variant_files(root, lane), JinjaConfig(platform=platform))
        variants = variants.merge(VariantConfig(pins)) if pins else variants
        rendered = Stage0Recipe.from_file(file).render(variants, RenderConfig(platform=platform))
    except RattlerBuildError as error:
        raise UserError(f"recipe {recipe!r} does not render in lane {lane!r}: {_one_line(error)} ({file})") from None
    return [_output(variant.recipe, platform.target_platform) for variant in rendered]


def host_platform() -> str:
    """The platform that packages are built for: this machine's, as conda names it (linux-64, osx-arm64, ...)."""
    from rattler import Subdir

    return str(Subdir.current())


def _output(recipe, platform: str) -> Output:
    requirements = {section: list(map(str, getattr(recipe.requirements, section))) for section in ("build", "host")}
    for staging in recipe.staging_caches:
        for section, specs in requirements.items():
            specs += map(str, getattr(staging.requirements, section))
    return Output(
        name=recipe.package.name,
        version=recipe.package.version,
        build=str(recipe.build.string),
        subdir="noarch" if recipe.build.noarch else platform,
        requirements=requirements | {"run": list(map(str, recipe.requirements.run))},
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
