"""Groups: packages that few builds ask for (a CUDA toolkit, a cross compiler), made only when one does.

A group is a file groups/NAME.yaml; its recipes lie in a folder of groups/, and groups may share one: the recipe
then names what sets them apart as ${{ key }} of the group's context. NAME.lock pins the wheels that it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import yaml

from standin.lock import Pin, read_lock
from standin.target import PYTHON
from tooling.errors import UserError

FOLDER = Path(__file__).parent / "groups"
HOST = "linux-64"
"""The platform that builds run on."""


@dataclass(frozen=True)
class Group:
    """One file of groups/."""

    name: str
    answers: tuple[str, ...]
    """`NAME` or `NAME VERSION` of packages: a build that asks for one of these needs the group."""
    recipes: tuple[str, ...] = ()
    """Folders of groups/ whose recipes it is made of."""
    needs: tuple[str, ...] = ()
    """Groups without which it is of no use."""
    context: dict[str, str] = field(default_factory=dict, hash=False)
    """Put in for ${{ key }} in its recipes."""
    each: dict[str, list[str]] = field(default_factory=dict, hash=False)
    """A key of the context and its values: there is a package of each recipe for each value."""
    wheels: tuple[str, ...] = ()
    """What `python -m standin --lock` pins in its lock, as NAME==VERSION; what no recipe names is a package itself."""
    machine: str = "x86_64"
    """Python's name of the processor that its wheels are for."""
    python: str = PYTHON.full_version
    """The Python that its wheels are for."""
    target: str = HOST
    """The platform of `default_recipes`, and of its own recipes that say `platform: target`."""
    default_recipes: tuple[str, ...] = ()
    """Default recipes that it builds for `target`."""

    @property
    def lock(self) -> Path:
        """Where its wheels are pinned."""
        return FOLDER / f"{self.name}.lock"

    def pins(self) -> list[Pin]:
        """Its wheels."""
        return read_lock(self.lock.read_text()) if self.wheels else []

    def recipe_folders(self) -> list[Path]:
        """The folder of each recipe of its own."""
        return [path for name in self.recipes for path in sorted((FOLDER / name).iterdir()) if path.is_dir()]

    def instances(self) -> list[Group]:
        """The group itself, or one for each value of `each`."""
        return [
            replace(self, name=f"{self.name}.{value}", each={}, context=self.context | {key: value})
            for key, values in self.each.items()
            for value in values
        ] or [self]

    def fill(self, text: str) -> str:
        """A recipe's text with the context put in."""
        for key, value in self.context.items():
            text = text.replace(f"${{{{ {key} }}}}", value)
        return text

    def files(self) -> list[Path]:
        """Everything of groups/ that it is made from."""
        own = [FOLDER / f"{self.name}.yaml", *([self.lock] if self.wheels else [])]
        return own + [path for folder in self.recipe_folders() for path in sorted(folder.rglob("*")) if path.is_file()]


def read_group(path: Path) -> Group:
    """Read one file; an unknown key is an error."""
    content = yaml.safe_load(path.read_text())
    unknown = set(content) - set(Group.__dataclass_fields__)
    if unknown:
        raise UserError(f"{path}: unknown key {', '.join(sorted(unknown))}")
    return Group(
        path.stem, **{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    )


@cache
def known_groups() -> dict[str, Group]:
    """Every group by name."""
    return {path.stem: read_group(path) for path in sorted(FOLDER.glob("*.yaml"))}


def choose(names: Iterable[str]) -> list[Group]:
    """The groups `names` and those that they need, in a fixed order."""
    known = known_groups()
    chosen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in known:
            raise UserError(f"the stand-in channel has no group {name!r}: choose of {', '.join(known)}")
        if name not in chosen:
            chosen.add(name)
            waiting += known[name].needs
    return [known[name] for name in sorted(chosen)]


def groups_for(specs: Iterable[str]) -> list[Group]:
    """The groups that match specs (`NAME`, `NAME VERSION`, ...) ask for."""
    asked = [(spec.split()[0], (spec.split()[1:] or ["*"])[0]) for spec in specs]
    return choose(
        name
        for name, group in known_groups().items()
        if any(answers(answer, *spec) for answer in group.answers for spec in asked)
    )


def answers(answer: str, name: str, versions: str) -> bool:
    """Whether `answer`, `NAME` or `NAME VERSION`, is what a match spec for `name` and `versions` asks for."""
    from rattler import Version, VersionSpec

    own, _, version = answer.partition(" ")
    return own == name and (not version or VersionSpec(versions).matches(Version(version)))
