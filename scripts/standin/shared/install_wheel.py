"""install_wheel.py WHEEL PREFIX PYTHON: lay a wheel out in an environment of a Python (as in 3.11), as pip would.

Needs neither pip nor that Python: a package is built in a fraction of the time that making an environment takes.
Scripts of entry points are written by rattler-build in noarch packages, and here in others.
"""

import configparser
import os
import shutil
import sys
import zipfile
from pathlib import Path

SITE_PACKAGES = "lib/python{python}/site-packages"
DATA = {
    "purelib": SITE_PACKAGES,
    "platlib": SITE_PACKAGES,
    "scripts": "bin",
    "data": ".",
    "headers": "include/python{python}",
}
SCRIPT = """#!{prefix}/bin/python{python}
import sys

from {module} import {attribute}

if __name__ == "__main__":
    sys.exit({function}())
"""


def place_of(member: str, python: str) -> Path:
    """Where a member of a wheel goes, relative to the prefix: NAME.data/KIND/... into KIND's folder."""
    top, _, rest = member.partition("/")
    if top.endswith(".data"):
        kind, _, rest = rest.partition("/")
        return Path(DATA[kind].format(python=python), rest)
    return Path(SITE_PACKAGES.format(python=python), member)


def unpack(wheel: Path, prefix: Path, python: str) -> None:
    """Extract every file; what was executable stays so, and scripts become so."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            target = prefix / place_of(member.filename, python)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
            if (member.external_attr >> 16) & 0o111 or target.parent == prefix / "bin":
                target.chmod(0o755)


def write_scripts(site: Path, prefix: Path, python: str) -> None:
    """A script in bin/ for each console entry point."""
    for listing in site.glob("*.dist-info/entry_points.txt"):
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
        parser.optionxform = str
        parser.read_string(listing.read_text())
        for name, target in parser["console_scripts"].items() if "console_scripts" in parser else ():
            module, _, function = target.partition("[")[0].strip().partition(":")
            path = prefix / "bin" / name
            path.parent.mkdir(exist_ok=True)
            attribute = function.partition(".")[0]
            names = {"module": module, "attribute": attribute, "function": function}
            path.write_text(SCRIPT.format(prefix=prefix, python=python, **names))
            path.chmod(0o755)


def main() -> None:
    """Install, and say who did, as PEP 376 asks."""
    wheel, prefix, python = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    site = prefix / SITE_PACKAGES.format(python=python)
    unpack(wheel, prefix, python)
    for info in site.glob("*.dist-info"):
        (info / "INSTALLER").write_text("conda\n")
    if not os.environ.get("NOARCH"):
        write_scripts(site, prefix, python)


if __name__ == "__main__":
    main()
