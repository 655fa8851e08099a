"""Writes tiny .conda files, so that a test can make a package that breaks one promise and keeps the others."""

import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

LIBRARY = "site-packages/toy/_C.abi3.so"
LICENCE = b"Permission is granted.\n"


@dataclass
class Contents:
    """What goes into a package; as it is, a package for linux-64 that keeps every promise."""

    name: str = "toy"
    version: str = "1.0"
    build: str = "cpu_h0123456_0"
    files: dict[str, bytes] = field(default_factory=lambda: {"share/toy": b"toy\n"})
    index: dict = field(default_factory=dict)
    variant: dict = field(default_factory=dict)
    licences: dict[str, bytes] = field(default_factory=lambda: {"LICENSE": LICENCE})
    info: dict[str, bytes] = field(default_factory=dict)
    """More files of info/, or others than the usual ones."""
    placeholders: dict[str, str] = field(default_factory=dict)
    """Build environment's path by the file that holds it."""

    def write(self, folder: Path) -> Path:
        """The .conda file, in `folder`."""
        stem = f"{self.name}-{self.version}-{self.build}"
        return write_parts(folder / f"{stem}.conda", tar_of(self.files), tar_of(self._info_files()))

    def _info_files(self) -> dict[str, bytes]:
        index = {"name": self.name, "version": self.version, "build": self.build, "build_number": 0}
        index |= {"subdir": "linux-64", "license": "Apache-2.0", "depends": ["__glibc >=2.17"]} | self.index
        variant = {"target_platform": "linux-64", "c_stdlib": "sysroot", "c_stdlib_version": "2.17"} | self.variant
        usual = {
            "info/index.json": json.dumps(index).encode(),
            "info/about.json": json.dumps({"license": index["license"]}).encode(),
            "info/hash_input.json": json.dumps(variant).encode(),
            "info/paths.json": json.dumps({"paths_version": 1, "paths": self._paths()}).encode(),
        }
        return usual | {f"info/licenses/{name}": text for name, text in self.licences.items()} | self.info

    def _paths(self) -> list[dict]:
        return [
            {
                "_path": path,
                "path_type": "hardlink",
                "sha256": hashlib.sha256(data).hexdigest(),
                "size_in_bytes": len(data),
            }
            | (
                {"prefix_placeholder": self.placeholders[path], "file_mode": "text"}
                if path in self.placeholders
                else {}
            )
            for path, data in self.files.items()
        ]


def tar_of(files: dict[str, bytes]) -> bytes:
    """A tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def write_parts(file: Path, pkg: bytes, info: bytes, metadata: object = None) -> Path:
    """A .conda file of two tar archives."""
    compress = zstandard.ZstdCompressor(level=3).compress
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", json.dumps(metadata or {"conda_pkg_format_version": 2}))
        archive.writestr(f"pkg-{file.stem}.tar.zst", compress(pkg))
        archive.writestr(f"info-{file.stem}.tar.zst", compress(info))
    return file


def shared_library(folder: Path, source: str, *flags: str, compiler: str = "gcc", language: str = "c") -> bytes:
    """`source` compiled into a shared library that refers to nothing that it does not name itself."""
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / "library.so"
    command = [compiler, "-x", language, "-", "-x", "none", "-shared", "-fPIC", "-O1", "-nostdlib", "-o", str(output)]
    subprocess.run([*command, *flags], input=source, text=True, check=True, cwd=folder)
    return output.read_bytes()
