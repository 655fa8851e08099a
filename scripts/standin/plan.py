"""From tables, hand-written recipes and downloads to the default units; `group_plan` has those of the groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from standin import wheel_recipe
from standin.apt import Apt, deb_version
from standin.groups import HOST
from standin.index import Downloads
from standin.libraries import make_recipe, read_libraries
from standin.lock import Pin, read_lock
from standin.store import HERE, SHARED, Unit, id_of, read_recipe
from standin.target import PYTHON, Python
from standin.torch_wheel import fetch_cpu_torch
from standin.wheel import Wheel
from standin.wheel_recipe import WheelTable

RECIPES = HERE / "recipes"
NUMPY_SOURCE = Pin("numpy", "2.4.6", "f3a3570c4a2a16746ac2c31a7c7c7b0c186b95ce902e33db6f28094ed7387dda")
"""Holds Highway 1.3.0."""

Fetch = Callable[[], list[Unit]]


@dataclass(frozen=True)
class Planned:
    """A package that the channel will hold, known before anything is downloaded."""

    name: str
    group: str = ""
    platform: str = HOST

    @property
    def id(self) -> str:
        """The id of the unit to come."""
        return id_of(self.name, self.group)


def hand_written() -> dict[str, tuple[str, dict, tuple[Path, ...]]]:
    """Name -> recipe text, its `extra` mapping, the files beside it."""
    return {folder.name: read_recipe(folder) for folder in sorted(RECIPES.iterdir())}


def deb_names() -> list[str]:
    """Every deb that some default recipe is made of."""
    names = {deb for library in read_libraries(HERE / "libraries.yaml") for deb in library.debs}
    for _, extra, _ in hand_written().values():
        names.update(extra.get("debs", []))
    return sorted(names)


def library_units(debs: dict[str, Path]) -> list[Unit]:
    """A unit a row of libraries.yaml."""
    units = []
    for library in read_libraries(HERE / "libraries.yaml"):
        files = tuple(debs[name] for name in library.debs)
        context = {"version": deb_version(files[0])}
        units.append(Unit(library.name, make_recipe(library), (SHARED / "build_library.sh",), files, context))
    return units


def units_from_debs(debs: dict[str, Path]) -> list[Unit]:
    """Everything that is made of debs or of nothing but its recipe."""
    units = library_units(debs)
    for name, (text, extra, files) in hand_written().items():
        if "wheels" in extra or "sources" in extra:
            continue
        inputs = tuple(debs[deb] for deb in extra.get("debs", []))
        versioned = [debs[extra["version_of"]]] if "version_of" in extra else list(inputs)
        context = {"version": deb_version(versioned[0])} if versioned else {}
        units.append(Unit(name, text, files, inputs, context))
    return units


def units_from_wheels(wheels: list[Path]) -> list[Unit]:
    """One unit a wheel, by the generator unless recipes were written for it."""
    table = WheelTable.read(HERE / "wheels.yaml")
    units = []
    for path in wheels:
        wheel = Wheel.read(path)
        if wheel.name not in table.hand_written:
            units.append(unit_of_wheel(wheel))
            continue
        for name, (text, extra, files) in hand_written().items():
            if wheel.name in extra.get("wheels", []):
                units.append(Unit(name, text, files, (path,), {"version": wheel.version}))
    return units


def unit_of_wheel(wheel: Wheel, python: Python = PYTHON, **place: str) -> Unit:
    """The unit of a wheel whose recipe is made from its metadata; `place` is the unit's group and platform."""
    table = WheelTable.read(HERE / "wheels.yaml")
    recipe = wheel_recipe.make_recipe(wheel, table, python)
    return Unit(
        table.conda_name(wheel.name),
        recipe,
        tuple(SHARED / name for name in ("install_wheel.py", "compile_bytecode.py")),
        (wheel.path,),
        **place,
    )


def fetch_debs(apt: Apt) -> list[Unit]:
    """Download every deb."""
    apt.update()
    return units_from_debs(apt.download(deb_names()))


def fetch_wheel(downloads: Downloads, pin: Pin) -> list[Unit]:
    """Download one pinned wheel."""
    return units_from_wheels([downloads.fetch_pin(pin)])


def fetch_torch(downloads: Downloads) -> list[Unit]:
    """Download a CPU build of torch."""
    return units_from_wheels([fetch_cpu_torch(downloads)])


def fetch_highway(downloads: Downloads, **place: str) -> list[Unit]:
    """Download the source package that Highway is taken from; `place` is the unit's group and platform."""
    text, _, files = hand_written()["libhwy"]
    return [Unit("libhwy", text, files, (downloads.fetch_pin(NUMPY_SOURCE),), **place)]


def pinned_wheels() -> list[Pin]:
    """The lock of the default wheels."""
    return read_lock((HERE / "wheels.lock").read_text())


def package_names() -> list[str]:
    """The conda names of everything in the default channel, without downloading anything."""
    table = WheelTable.read(HERE / "wheels.yaml")
    names = {library.name for library in read_libraries(HERE / "libraries.yaml")}
    names.update(hand_written())
    names.update(table.conda_name(pin.name) for pin in pinned_wheels())
    return sorted(names)
