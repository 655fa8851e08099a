"""A recipe.yaml for a wheel, made from the wheel's own metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from standin.target import PYTHON, Python
from standin.wheel import Wheel
from tooling.errors import UserError

INSTALL = 'python3 "$RECIPE_DIR/install_wheel.py" "$RECIPE_DIR"/inputs/*.whl "$PREFIX" {python}'
COMPILE = 'python3 "$RECIPE_DIR/compile_bytecode.py" "$PREFIX/lib/python{python}" "$PREFIX" {python}'


@dataclass(frozen=True)
class WheelTable:
    """wheels.yaml: what wheels do not know about conda."""

    roots: tuple[str, ...]
    conda_names: dict[str, str]
    imports: dict[str, list[str]]
    hand_written: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> WheelTable:
        """Read the table; an unknown key is an error."""
        content = yaml.safe_load(path.read_text())
        unknown = set(content) - {"roots", "conda_names", "imports", "hand_written"}
        if unknown:
            raise UserError(f"{path}: unknown key {', '.join(sorted(unknown))}")
        return cls(
            tuple(content.get("roots", ())),
            content.get("conda_names", {}),
            content.get("imports", {}),
            tuple(content.get("hand_written", ())),
        )

    def conda_name(self, name: str) -> str:
        """conda-forge's name for a PyPI package."""
        canonical = canonicalize_name(name)
        return self.conda_names.get(canonical, canonical)


def conda_specifier(specifiers: SpecifierSet) -> str:
    """PEP 440's version specifiers in conda's spelling."""
    parts = []
    for specifier in sorted(specifiers, key=str):
        if specifier.operator == "~=":
            release = Version(specifier.version).release[:-1]
            parts.append(f">={specifier.version},{'.'.join(map(str, release))}.*")
        elif specifier.operator == "===":
            parts.append(f"=={specifier.version}")
        elif specifier.operator == "==" and specifier.version.endswith(".*"):
            parts.append(specifier.version)
        else:
            parts.append(f"{specifier.operator}{specifier.version}")
    return ",".join(parts)


def run_requirements(wheel: Wheel, table: WheelTable, python: Python = PYTHON) -> list[str]:
    """The wheel's requirements under conda's names: no extras, only those whose markers hold on the stand-in."""
    found = {}
    for text in wheel.metadata.get_all("Requires-Dist", []):
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(python.markers):
            name = table.conda_name(requirement.name)
            found[name] = f"{name} {conda_specifier(requirement.specifier)}".strip()
    return [found[name] for name in sorted(found)]


def python_requirement(wheel: Wheel) -> str:
    """The wheel's Requires-Python as a requirement on python."""
    return f"python {conda_specifier(SpecifierSet(wheel.metadata['Requires-Python'] or ''))}".strip()


def binary_requirements(python: Python) -> list[str]:
    """What a wheel needs that is not for every Python."""
    return ["python", f"python_abi {python.version}.* *_cp{python.digits}", "libgcc", "libstdcxx"]


def make_recipe(wheel: Wheel, table: WheelTable, python: Python = PYTHON) -> str:
    """recipe.yaml for one wheel: laid out as it is, its requirements as they are, importing it as test.

    One that is not for every Python becomes a package for `python`.
    """
    install = INSTALL.format(python=python.version)
    imports = table.imports.get(canonicalize_name(wheel.name)) or wheel.top_level()
    build: dict = {"number": 0}
    if wheel.is_pure:
        build |= {"noarch": "python", "script": {"content": install, "env": {"NOARCH": "python"}}}
        build["python"] = {"entry_points": wheel.entry_points}
        needs = [python_requirement(wheel)]
    else:
        build |= {
            "number": 1,
            "string": f"py{python.digits}h${{{{ hash }}}}_1",
            "script": {"content": f"{install}\n{COMPILE.format(python=python.version)}"},
        }
        build["python"] = {"skip_pyc_compilation": ["**/*.py"]}
        needs = binary_requirements(python)
    recipe = {
        "schema_version": 1,
        "package": {"name": table.conda_name(wheel.name), "version": wheel.version},
        "build": build,
        "requirements": {"run": [*needs, *run_requirements(wheel, table, python)]},
        "tests": [{"python": {"imports": imports, "pip_check": False}}],
        "about": {"summary": " ".join((wheel.metadata["Summary"] or "").split()), "license": wheel.license},
    }
    return yaml.safe_dump(recipe, sort_keys=False, width=120)
