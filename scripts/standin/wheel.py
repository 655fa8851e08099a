"""What a wheel says about itself."""

from __future__ import annotations

import configparser
import re
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from tooling.errors import UserError


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
