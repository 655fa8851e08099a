"""The units of a group: its own recipes, and default ones and libraries for another platform."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import yaml

from standin import plan
from standin.apt import Apt, deb_version
from standin.groups import HOST, Group
from standin.index import Downloads
from standin.plan import Fetch, Planned
from standin.store import Unit, read_recipe
from standin.torch_wheel import fetch_cpu_torch
from standin.wheel import Wheel

EXTRA_KEYS = frozenset({"debs", "shared", "torch", "version_of", "wheels", "platform"})
"""What `extra` of a group's recipe may say: debs or wheels of the group's lock that it is made of, `torch: cpu` for the
default channel's torch wheel, the deb that gives the version, shared files beside it, and `platform: target` for a
package that is compiled for the group's target."""


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
    return own + [Planned(name, group.name, group.target) for name in (*group.default_recipes, *group.libraries)]


def fetches(group: Group, home: Apt, target: Apt, downloads: Downloads, torch: Downloads) -> list[Fetch]:
    """What downloads the group's inputs, side by side. `home` and `target` have debs for either machine; `torch` has
    the default channel's torch wheel."""
    result: list[Fetch] = [partial(fetch_target_libraries, group, target)]
    for name, recipe in own_recipes(group).items():
        if {"wheels", "torch"} & set(recipe[1]):
            result.append(partial(fetch_from_wheels, group, name, recipe, downloads, torch))
        else:
            result.append(partial(fetch_from_debs, group, name, recipe, home))
    if "libhwy" in group.default_recipes:
        result.append(partial(plan.fetch_highway, torch, group=group.name, platform=group.target))
    return result


def fetch_from_debs(group: Group, name: str, recipe: tuple, home: Apt) -> list[Unit]:
    """One unit made of debs or of nothing but its recipe."""
    text, extra, files = recipe
    debs = _download(home, [*extra.get("debs", []), *([extra["version_of"]] if "version_of" in extra else [])])
    inputs = [debs[deb] for deb in extra.get("debs", [])]
    versioned = debs.get(extra.get("version_of", ""), inputs[0] if inputs else None)
    context = {"version": deb_version(versioned)} if versioned else {}
    return [Unit(name, text, files, tuple(inputs), context, group.name, platform_of(group, extra))]


def fetch_target_libraries(group: Group, target: Apt) -> list[Unit]:
    """Libraries for the group's target, and default recipes that need nothing else."""
    place = {"group": group.name, "platform": group.target}
    rows = plan.library_rows(group.libraries)
    units = plan.library_units(rows, _download(target, [deb for row in rows for deb in row.debs]), **place)
    for name in group.default_recipes:
        text, extra, files = plan.hand_written()[name]
        if not set(extra) - {"shared"}:
            units.append(Unit(name, text, files, **place))
    return units


def fetch_from_wheels(group: Group, name: str, recipe: tuple, downloads: Downloads, torch: Downloads) -> list[Unit]:
    """One unit made of wheels, the first of which gives the version."""
    text, extra, files = recipe
    pins = {pin.name: pin for pin in group.pins()}
    wheels = [downloads.fetch_pin(pins[wheel]) for wheel in extra.get("wheels", [])]
    if extra.get("torch") == "cpu":
        wheels.append(fetch_cpu_torch(torch))
    context = {"version": Wheel.read(wheels[0]).version}
    return [Unit(name, text, files, tuple(wheels), context, group.name, platform_of(group, extra))]


def _download(apt: Apt, names: list[str]) -> dict[str, Path]:
    wanted = sorted(set(names))
    if not wanted:
        return {}
    apt.update()
    return apt.download(wanted)
