"""What one package is made from, the key that names this, and the folder of finished packages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from standin.groups import HOST

HERE = Path(__file__).parent
SHARED = HERE / "shared"
DIGEST_LENGTH = 12
"""Hexadecimal digits at the end of a channel's name."""


def id_of(name: str, group: str) -> str:
    """Names a unit among those of other groups, and in file names."""
    return f"{name}@{group}" if group else name


@dataclass(frozen=True)
class Unit:
    """One recipe and its inputs: makes the conda package `name`."""

    name: str
    recipe: str
    """The text of recipe.yaml."""
    files: tuple[Path, ...] = ()
    """Files beside recipe.yaml: scripts, tests."""
    inputs: tuple[Path, ...] = ()
    """Downloaded files, which the build finds in $RECIPE_DIR/inputs."""
    context: dict[str, str] = field(default_factory=dict, hash=False)
    """What `${{ ... }}` in the recipe may name besides its own context."""
    group: str = ""
    """The group that it belongs to; the default packages belong to none."""
    platform: str = HOST
    """What it is compiled for."""

    @property
    def id(self) -> str:
        """Unique in a channel: groups hold other versions of a package, or the same one for another platform."""
        return id_of(self.name, self.group)

    @cached_property
    def digest(self) -> str:
        """Changes with the recipe, its scripts, its context and the contents of its inputs."""
        result = hashlib.sha256(self.recipe.encode())
        result.update(json.dumps(self.context, sort_keys=True).encode() + self.platform.encode())
        for path in sorted(self.files + self.inputs, key=lambda path: path.name):
            result.update(f"\0{path.name}\0{file_digest(path)}".encode())
        return result.hexdigest()

    def stage(self, folder: Path) -> Path:
        """Lay the recipe, its files and its inputs out in `folder`; returns the recipe.yaml."""
        (folder / "inputs").mkdir(parents=True)
        (folder / "recipe.yaml").write_text(self.recipe)
        for path in self.files:
            shutil.copy(path, folder / path.name)
        for path in self.inputs:
            (folder / "inputs" / path.name).symlink_to(path)
        return folder / "recipe.yaml"


def file_digest(path: Path) -> str:
    """The sha256 of a file's contents."""
    result = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            result.update(chunk)
    return result.hexdigest()


def read_recipe(folder: Path, fill: Callable[[str], str] = str) -> tuple[str, dict, tuple[Path, ...]]:
    """A hand-written recipe: its text as `fill` leaves it, its `extra` mapping, the files beside it and shared ones."""
    text = fill((folder / "recipe.yaml").read_text())
    extra = yaml.safe_load(text).get("extra", {})
    own = [path for path in sorted(folder.iterdir()) if path.name != "recipe.yaml" and path.is_file()]
    return text, extra, tuple(own + [SHARED / name for name in extra.get("shared", [])])


class Store:
    """Finished packages, each in a folder NAME-KEY that appears in one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str, key: str) -> Path | None:
        """The folder of a finished package: SUBDIR/FILE.conda and record.json."""
        path = self.folder / f"{name}-{key}"
        return path if path.is_dir() else None

    def add(self, name: str, key: str, built: Path) -> Path:
        """Take over a folder that holds one subdir with one package."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}-{key}"
        os.replace(built, path)
        return path

    def prune(self) -> None:
        """Delete packages that no channel holds: channels hold hard links to them."""
        for folder in self.folder.glob("*"):
            if all(package.stat().st_nlink == 1 for package in folder.glob("*/*.conda")):
                shutil.rmtree(folder, ignore_errors=True)


def key_of(unit: Unit, needs: Iterable[tuple[str, str]], engine: str) -> str:
    """The key of a package: its recipe and inputs, the keys of what it is built with, and the build engine."""
    parts = [unit.digest, engine, *(f"{name}={key}" for name, key in sorted(needs))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
