"""Unpacks a .conda file without trusting it.

A .conda file is an uncompressed zip of metadata.json, pkg-NAME.tar.zst and info-NAME.tar.zst. Limits hold while
unpacking, so that a small file which would fill the disk is refused before it does.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOST_BYTES = 8_000_000_000
"""Unpacked size of all files together; the largest package there is stays far below."""

MOST_FILES = 200_000
CHUNK = 1 << 20
LARGEST_WINDOW = 1 << 27
"""Memory in bytes that zstd may use; its highest level, 22, asks for no more."""


class BadPackage(Exception):
    """One line: why the file is not a package that can be checked."""


def unpack(file: Path, folder: Path) -> None:
    """Unpack both parts of `file` into `folder`; BadPackage when it is damaged, hostile or something else."""
    import zstandard

    if file.suffix != ".conda":
        raise BadPackage(f"{file} is not named *.conda: give a package in the .conda format")
    if not file.is_file():
        raise BadPackage(f"{file} does not exist")
    budget = _Budget()
    try:
        with zipfile.ZipFile(file) as archive:
            for member in _parts(file, archive):
                decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
                with archive.open(member) as compressed, decompressor.stream_reader(compressed) as stream:
                    _unpack_tar(_Counted(stream, budget), folder, budget)
    except (zipfile.BadZipFile, zstandard.ZstdError, tarfile.TarError, EOFError, NotImplementedError) as error:
        raise BadPackage(f"{file} is damaged or no .conda package: {' '.join(str(error).split())}") from None


def _parts(file: Path, archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """The two compressed tar files."""
    members = {info.filename: info for info in archive.infolist()}
    names = [f"{part}-{file.stem}.tar.zst" for part in ("info", "pkg")]
    missing = [name for name in ("metadata.json", *names) if name not in members]
    if missing:
        raise BadPackage(f"{file} lacks {', '.join(missing)}: it is damaged, renamed or no .conda package")
    if members["metadata.json"].file_size > CHUNK:
        raise BadPackage(f"{file} has a metadata.json of {members['metadata.json'].file_size} bytes")
    try:
        version = json.loads(archive.read("metadata.json"))["conda_pkg_format_version"]
    except (ValueError, KeyError, TypeError):
        raise BadPackage(f"{file} has no conda_pkg_format_version in its metadata.json") from None
    if version != 2:
        raise BadPackage(f"{file} has package format {version!r}; only 2 is known")
    yield from (members[name] for name in names)


def _unpack_tar(stream: _Counted, folder: Path, budget: _Budget) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            budget.count_file(member.name)
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise BadPackage(f"the path {member.name!r} in the package leads outside of it")
            target = folder / path
            if any((folder / parent).is_symlink() for parent in path.parents):
                raise BadPackage(f"the path {member.name!r} in the package goes through a symbolic link")
            if target.is_symlink() or (target.exists() and not member.isdir()):
                raise BadPackage(f"the path {member.name!r} is in the package twice")
            _write(tar, member, target)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write one member. Symbolic links are made, never followed; hard links and devices are refused."""
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.isreg():
        source = tar.extractfile(member)
        with target.open("wb") as sink:
            while chunk := source.read(CHUNK):
                sink.write(chunk)
        if target.stat().st_size != member.size:
            raise BadPackage(f"the package ends within {member.name!r}")
    else:
        raise BadPackage(f"{member.name!r} in the package is neither a file, a folder nor a symbolic link")


class _Budget:
    """What may still be unpacked."""

    def __init__(self) -> None:
        self.bytes = MOST_BYTES
        self.files = MOST_FILES

    def count_bytes(self, count: int) -> None:
        self.bytes -= count
        if self.bytes < 0:
            raise BadPackage(f"the package unpacks to more than {MOST_BYTES / 1e9:g} GB")

    def count_file(self, name: str) -> None:
        self.files -= 1
        if self.files < 0:
            raise BadPackage(f"the package holds more than {MOST_FILES} files")


class _Counted:
    """A readable stream that takes what is read from it off a budget."""

    def __init__(self, stream, budget: _Budget) -> None:
        self._stream = stream
        self._budget = budget

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._budget.count_bytes(len(data))
        return data
