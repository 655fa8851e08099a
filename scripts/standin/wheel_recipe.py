"""A recipe.yaml for a wheel, made from the wheel's own metadata."""

from __future__ import annotations

import configparser
import re
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from tooling.errors import UserError

MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.2",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
    "extra": "",
}
"""The environment that requirement markers are evaluated for: the stand-in's Python, whatever runs this code."""

INSTALL = 'python3 "$RECIPE_DIR/install_wheel.py" "$RECIPE_DIR"/inputs/*.whl "$PREFIX"'
BINARY_NEEDS = ["python", "python_abi 3.11.* *_cp311", "libgcc", "libstdcxx"]


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


@dataclass(frozen=True)
class Wheel:
    """What a wheel says about itself."""

    path: Path
    metadata: Message
    entry_points: list[str]
    files: list[str]

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """Read the .dist-info of a wheel."""
        try:
            with zipfile.ZipFile(path) as archive:
                files = archive.namelist()
                info = next(name for name in files if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
                metadata = HeaderParser().parsestr(archive.read(info).decode())
                scripts = info.replace("METADATA", "entry_points.txt")
                text = archive.read(scripts).decode() if scripts in files else ""
        except (zipfile.BadZipFile, StopIteration):
            raise UserError(f"{path} is not a whole wheel; delete it and run the command again") from None
        return cls(path, metadata, console_scripts(text), files)

    @property
    def name(self) -> str:
        """The project's name, as it spells it."""
        return self.metadata["Name"]

    @property
    def version(self) -> str:
        """The version without a local part."""
        return Version(self.metadata["Version"]).public

    @property
    def is_pure(self) -> bool:
        """Whether the file name promises that it runs everywhere."""
        tags = parse_wheel_filename(self.path.name)[3]
        return all(tag.abi == "none" and tag.platform == "any" for tag in tags)

    @property
    def license(self) -> str:
        """An SPDX expression where the wheel gives one, else what it says in words."""
        if self.metadata["License-Expression"]:
            return self.metadata["License-Expression"]
        classifiers = [c for c in self.metadata.get_all("Classifier", []) if c.startswith("License ::")]
        return spdx_of(classifiers, self.metadata["License"] or "")

    def top_level(self) -> list[str]:
        """Modules at the top of the wheel that are meant to be imported."""
        names = set()
        for file in self.files:
            top, slash, rest = file.partition("/")
            if slash and rest == "__init__.py":
                names.add(top)
            elif not slash and re.search(r"\.(py|so)$", top):
                names.add(top.partition(".")[0])
        namespaces = {file.partition("/")[0] for file in self.files if file.endswith((".py", ".so")) and "/" in file}
        public = sorted(name for name in names if not name.startswith("_"))
        return public or sorted(names) or sorted(name for name in namespaces if name.isidentifier())


SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def spdx_of(classifiers: list[str], words: str) -> str:
    """An SPDX identifier for trove classifiers or for free words; LicenseRef-Unknown where neither is known."""
    known = sorted({SPDX[last] for c in classifiers if (last := c.rpartition(" :: ")[2]) in SPDX})
    if known:
        return " AND ".join(known)
    first = words.strip().splitlines()[0] if words.strip() else ""
    for pattern, identifier in ((r"apache", "Apache-2.0"), (r"bsd", "BSD-3-Clause"), (r"mit\b", "MIT")):
        if re.search(pattern, first, re.IGNORECASE):
            return identifier
    return "LicenseRef-Unknown"


def console_scripts(text: str) -> list[str]:
    """The [console_scripts] of an entry_points.txt as `name = module:function`."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # names are case-sensitive
    parser.read_string(text)
    section = parser["console_scripts"] if parser.has_section("console_scripts") else {}
    return [f"{name} = {target.partition('[')[0].strip()}" for name, target in section.items()]


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


def run_requirements(wheel: Wheel, table: WheelTable) -> list[str]:
    """The wheel's requirements under conda's names: no extras, only those whose markers hold on the stand-in."""
    found = {}
    for text in wheel.metadata.get_all("Requires-Dist", []):
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(MARKERS):
            name = table.conda_name(requirement.name)
            found[name] = f"{name} {conda_specifier(requirement.specifier)}".strip()
    return [found[name] for name in sorted(found)]


def python_requirement(wheel: Wheel) -> str:
    """The wheel's Requires-Python as a requirement on python."""
    return f"python {conda_specifier(SpecifierSet(wheel.metadata['Requires-Python'] or ''))}".strip()


def make_recipe(wheel: Wheel, table: WheelTable) -> str:
    """recipe.yaml for one wheel: laid out as it is, its requirements as they are, importing it as test."""
    imports = table.imports.get(canonicalize_name(wheel.name)) or wheel.top_level()
    build: dict = {"number": 0}
    if wheel.is_pure:
        build |= {"noarch": "python", "script": {"content": INSTALL, "env": {"NOARCH": "python"}}}
        build["python"] = {"entry_points": wheel.entry_points}
        needs = [python_requirement(wheel)]
    else:
        build |= {"string": "py311h${{ hash }}_0", "script": {"content": INSTALL}}
        build["python"] = {"skip_pyc_compilation": ["**/*.py"]}
        needs = BINARY_NEEDS
    recipe = {
        "schema_version": 1,
        "package": {"name": table.conda_name(wheel.name), "version": wheel.version},
        "build": build,
        "requirements": {"run": [*needs, *run_requirements(wheel, table)]},
        "tests": [{"python": {"imports": imports, "pip_check": False}}],
        "about": {"summary": " ".join((wheel.metadata["Summary"] or "").split()), "license": wheel.license},
    }
    return yaml.safe_dump(recipe, sort_keys=False, width=120)
