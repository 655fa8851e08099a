"""recipe.yaml for the run-time libraries of libraries.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Library:
    """One row of libraries.yaml."""

    name: str
    debs: tuple[str, ...]
    license: str
    proof: str
    depends: tuple[str, ...] = ()


def read_libraries(path: Path) -> list[Library]:
    """Read the table."""
    rows = yaml.safe_load(path.read_text())
    return [
        Library(row.pop("name"), tuple(row.pop("debs")), depends=tuple(row.pop("depends", ())), **row) for row in rows
    ]


def make_recipe(library: Library) -> str:
    """recipe.yaml for one library; build_library.sh unpacks it."""
    recipe = {
        "schema_version": 1,
        "package": {"name": library.name, "version": "${{ version }}"},
        "build": {"number": 0, "script": {"file": "build_library.sh"}},
        "requirements": {
            "run": list(library.depends),
            "run_exports": [f"{library.name} >=${{{{ version }}}}"],
        },
        "tests": [{"package_contents": {"files": [library.proof]}}],
        "about": {"summary": f"Debian's {library.debs[0]}, for use in an environment", "license": library.license},
    }
    return yaml.safe_dump(recipe, sort_keys=False, width=120)
