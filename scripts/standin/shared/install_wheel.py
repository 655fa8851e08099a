"""install_wheel.py WHEEL PREFIX: lay a wheel out in an environment of the stand-in's Python, as pip would.

Needs neither pip nor that Python: a package is built in a fraction of the time that making an environment takes.
Scripts of entry points are written by rattler-build in noarch packages, and here in others.
"""

import configparser
import os
import shutil
import sys
import zipfile
from pathlib import Path

SITE_PACKAGES = "lib/python3.11/site-packages"
DATA = {
    "purelib": SITE_PACKAGES,
    "platlib": SITE_PACKAGES,
    "scripts": "bin",
    "data": ".",
    "headers": "include/python3.11",
}
SCRIPT = """#!{prefix}/bin/python3.11
import sys

from {module} import {attribute}

if __name__ == "__main__":
    sys.exit({function}())
"""


def place_of(member: str) -> Path:
    """Where a member of a wheel goes, relative to the prefix: NAME.data/KIND/... into KIND's folder."""
    top, _, rest = member.partition("/")
    if top.endswith(".data"):
        kind, _, rest = rest.partition("/")
        return Path(DATA[kind], rest)
    return Path(SITE_PACKAGES, member)


def unpack(wheel: Path, prefix: Path) -> None:
    """Extract every file; what was executable stays so, and scripts become so."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            target = prefix / place_of(member.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
            if (member.external_attr >> 16) & 0o111 or target.parent == prefix / "bin":
                target.chmod(0o755)


def write_scripts(prefix: Path) -> None:
    """A script in bin/ for each console entry point."""
    for listing in (prefix / SITE_PACKAGES).glob("*.dist-info/entry_points.txt"):
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
        parser.optionxform = str
        parser.read_string(listing.read_text())
        for name, target in parser["console_scripts"].items() if "console_scripts" in parser else ():
            module, _, function = target.partition("[")[0].strip().partition(":")
            path = prefix / "bin" / name
            path.parent.mkdir(exist_ok=True)
            attribute = function.partition(".")[0]
            path.write_text(SCRIPT.format(prefix=prefix, module=module, attribute=attribute, function=function))
            path.chmod(0o755)


def main() -> None:
    """Install, and say who did, as PEP 376 asks."""
    wheel, prefix = map(Path, sys.argv[1:])
    unpack(wheel, prefix)
    for info in (prefix / SITE_PACKAGES).glob("*.dist-info"):
        (info / "INSTALLER").write_text("conda\n")
    if not os.environ.get("NOARCH"):
        write_scripts(prefix)


if __name__ == "__main__":
    main()
