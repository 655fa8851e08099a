"""The units of a group: its own recipes, and default ones and libraries for another platform."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import yaml

from standin import plan
from standin.apt import Apt, deb_version
from standin.groups import HOST, Group
from standin.index import Downloads
from standin.lock import Pin
from standin.plan import Fetch, Planned
from standin.store import HERE, Unit, read_recipe
from standin.target import Python
from standin.torch_wheel import fetch_cpu_torch
from standin.wheel import Wheel
from standin.wheel_recipe import WheelTable

EXTRA_KEYS = frozenset({"debs", "shared", "source", "torch", "version_of", "wheels", "platform"})
"""What `extra` of a group's recipe may say: debs or wheels of the group's lock that it is made of, `torch: cpu` for the
default channel's torch wheel, a `source` package of Debian (name and suite), the deb that gives the version, shared
files beside it, and `platform: target` for a package that is compiled for the group's target."""


def own_recipes(group: Group) -> dict[str, tuple[str, dict, tuple[Path, ...]]]:
    """Package name -> recipe text, its `extra` mapping, the files beside it."""
    recipes = (read_recipe(folder, group.fill) for folder in group.recipe_folders())
    return {yaml.safe_load(recipe[0])["package"]["name"]: recipe for recipe in recipes}


def platform_of(group: Group, extra: dict) -> str:
    """What a recipe of the group is compiled for."""
    return group.target if extra.get("platform") == "target" else HOST


def group_packages(group: Group) -> list[Planned]:
    """What the group holds."""
    own = [Planned(name, group.name, platform_of(group, extra)) for name, (_, extra, _) in own_recipes(group).items()]
    names = [WheelTable.read(HERE / "wheels.yaml").conda_name(pin.name) for pin in lone_wheels(group)]
    own += [Planned(name, group.name) for name in names]
    return own + [Planned(name, group.name, group.target) for name in group.default_recipes]


def lone_wheels(group: Group) -> list[Pin]:
    """Wheels of the group that no recipe of its own is made of."""
    used = {wheel for _, extra, _ in own_recipes(group).values() for wheel in extra.get("wheels", [])}
    return [pin for pin in group.pins() if pin.name not in used]


def fetches(group: Group, apt: Apt, downloads: Downloads, torch: Downloads) -> list[Fetch]:
    """What downloads the group's inputs, side by side. `torch` has the default channel's torch and Highway."""
    result: list[Fetch] = [partial(bare_units, group)]
    for name, recipe in own_recipes(group).items():
        if {"wheels", "torch"} & set(recipe[1]):
            result.append(partial(fetch_from_wheels, group, name, recipe, downloads, torch))
        else:
            result.append(partial(fetch_from_debs, group, name, recipe, apt))
    result += [partial(fetch_lone_wheel, group, pin, downloads) for pin in lone_wheels(group)]
    if "libhwy" in group.default_recipes:
        result.append(partial(plan.fetch_highway, torch, group=group.name, platform=group.target))
    return result


def fetch_from_debs(group: Group, name: str, recipe: tuple, apt: Apt) -> list[Unit]:
    """One unit made of debs, of a source package, or of nothing but its recipe."""
    text, extra, files = recipe
    archives = [apt.fetch_source(**extra["source"])] if "source" in extra else []
    debs = _download(apt, [*extra.get("debs", []), *([extra["version_of"]] if "version_of" in extra else [])])
    inputs = [debs[deb] for deb in extra.get("debs", [])]
    inputs = archives + inputs
    versioned = debs.get(extra.get("version_of", ""), inputs[0] if inputs else None)
    context = {"version": deb_version(versioned)} if versioned else {}
    return [Unit(name, text, files, tuple(inputs), context, group.name, platform_of(group, extra))]


def bare_units(group: Group) -> list[Unit]:
    """Default recipes for the group's target that are made of nothing but themselves."""
    recipes = {name: plan.hand_written()[name] for name in group.default_recipes}
    return [
        Unit(name, text, files, group=group.name, platform=group.target)
        for name, (text, extra, files) in recipes.items()
        if not set(extra) - {"shared"}
    ]


def fetch_from_wheels(group: Group, name: str, recipe: tuple, downloads: Downloads, torch: Downloads) -> list[Unit]:
    """One unit made of wheels, the first of which gives the version."""
    text, extra, files = recipe
    pins = {pin.name: pin for pin in group.pins()}
    wheels = [downloads.fetch_pin(pins[wheel]) for wheel in extra.get("wheels", [])]
    if extra.get("torch") == "cpu":
        wheels.append(fetch_cpu_torch(torch))
    context = {"version": Wheel.read(wheels[0]).version}
    return [Unit(name, text, files, tuple(wheels), context, group.name, platform_of(group, extra))]


def fetch_lone_wheel(group: Group, pin: Pin, downloads: Downloads) -> list[Unit]:
    """One unit made of a wheel, with a recipe made from its metadata."""
    return [plan.unit_of_wheel(Wheel.read(downloads.fetch_pin(pin)), Python(group.python), group=group.name)]


def _download(apt: Apt, names: list[str]) -> dict[str, Path]:
    wanted = sorted(set(names))
    if not wanted:
        return {}
    apt.update()
    return apt.download(wanted)
