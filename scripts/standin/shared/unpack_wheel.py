"""unpack_wheel.py WHEEL FOLDER PATTERN ...: extract the members that a pattern selects; `!` in front leaves out."""

import fnmatch
import os
import sys
import zipfile


def selected(name: str, patterns: list[str]) -> bool:
    """The last pattern that matches decides."""
    chosen = False
    for pattern in patterns:
        if fnmatch.fnmatchcase(name, pattern.removeprefix("!")):
            chosen = not pattern.startswith("!")
    return chosen


wheel, folder, *patterns = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for member in archive.infolist():
        if selected(member.filename, patterns):
            path = archive.extract(member, folder)
            mode = member.external_attr >> 16 & 0o777
            if mode and not member.is_dir():
                os.chmod(path, mode)
