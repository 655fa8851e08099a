"""Makes a built package independent of when and where it was built: the same sources give the same bytes.

A .conda file is a zip archive, stored, of metadata.json and two compressed tar archives, info and pkg. What varies
between two builds of the same files is the time, the order of dependencies that came by run_exports, the folders of the
build (in rendered_recipe.yaml), and local channels. Nothing of it matters to what is installed.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

COMPRESSION_LEVEL = 19
EARLIEST = 315532800
"""1980-01-01, the first second that a zip archive can name, in seconds since 1970."""
LATEST = 4354819198
"""2107-12-31, the last one."""
BUILD_NOTES = ("info/recipe/rendered_recipe.yaml",)


def source_time(root: Path) -> int:
    """Seconds since 1970 that the packages of a checkout bear: SOURCE_DATE_EPOCH, its last commit, else 1980."""
    stated = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not stated.isdecimal():
        try:
            command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
            stated = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        except OSError:
            stated = ""
    return min(max(int(stated), EARLIEST), LATEST) if stated.isdecimal() else EARLIEST


def make_reproducible(package: Path, epoch: int) -> None:
    """Rewrite the .conda file `package` in place, with every time in it set to `epoch`, in seconds since 1970."""
    new = package.with_name(f".{package.name}.new")
    try:
        with zipfile.ZipFile(package) as source, zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as target:
            for name in sorted(source.namelist(), key=lambda name: (name != "metadata.json", name)):
                content = source.read(name)
                if name.endswith(".tar.zst"):
                    content = _rewrite(content, epoch)
                target.writestr(zipfile.ZipInfo(name, time.gmtime(epoch)[:6]), content)
        os.replace(new, package)
    finally:
        new.unlink(missing_ok=True)


def _rewrite(archive: bytes, epoch: int) -> bytes:
    """The compressed tar `archive` with its entries in order of their names."""
    import zstandard

    buffer = io.BytesIO()
    unpacked = io.BytesIO(zstandard.ZstdDecompressor().stream_reader(io.BytesIO(archive)).read())
    with (
        tarfile.open(fileobj=unpacked) as source,
        tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as out,
    ):
        for member in sorted(source.getmembers(), key=lambda member: member.name):
            if member.name in BUILD_NOTES:
                continue
            content = source.extractfile(member).read() if member.isreg() else None
            content = _normal_content(member.name, content, epoch)
            member.mtime, member.pax_headers = epoch, {}
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.size = len(content or b"")
            out.addfile(member, io.BytesIO(content) if content is not None else None)
    compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True)
    return compressor.compress(buffer.getvalue())


def _normal_content(name: str, content: bytes | None, epoch: int) -> bytes | None:
    """The content of a file of the package, without what depends on the build's time and place."""
    if name == "info/index.json":
        index = json.loads(content)
        index["timestamp"] = epoch * 1000
        index |= {key: sorted(index[key]) for key in ("depends", "constrains") if key in index}
        return _as_json(index)
    if name == "info/about.json":
        about = json.loads(content)
        about["channels"] = [url for url in about.get("channels", []) if not url.startswith("file:")]
        return _as_json(about)
    return content


def _as_json(value: dict) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
