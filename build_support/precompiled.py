"""Extensions out of a package that was built before, instead of a compilation: for work on the Python part.

VLLM_USE_PRECOMPILED=1 takes them from VLLM_PRECOMPILED_WHEEL_LOCATION: a wheel or a .conda, a local path or a URL.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from setuptools.command.build_ext import build_ext

SUFFIX = ".abi3.so"


def use_precompiled() -> bool:
    """Whether VLLM_USE_PRECOMPILED or a location asks for extensions that are already built."""
    value = os.environ.get("VLLM_USE_PRECOMPILED", "").strip().lower()
    if value in ("0", "false", "off", "no"):
        return False
    return bool(value or os.environ.get("VLLM_PRECOMPILED_WHEEL_LOCATION"))


class precompiled_wheel_utils:
    """Finds, fetches and opens the package that holds the extensions."""

    @staticmethod
    def location() -> str:
        """The wheel or .conda to take extensions from.

        Raises:
            ValueError: VLLM_PRECOMPILED_WHEEL_LOCATION is unset or names neither kind of file.
        """
        location = os.environ.get("VLLM_PRECOMPILED_WHEEL_LOCATION", "")
        if not location:
            raise ValueError(
                "VLLM_USE_PRECOMPILED is set without VLLM_PRECOMPILED_WHEEL_LOCATION: "
                "set that to the path or URL of a vllm wheel or .conda"
            )
        if not location.partition("#")[0].endswith((".whl", ".conda")):
            raise ValueError(f"VLLM_PRECOMPILED_WHEEL_LOCATION is '{location}': it must name a .whl or a .conda file")
        return location

    @staticmethod
    def fetch(location: str, folder: Path) -> Path:
        """The file at `location`, downloaded into `folder` if it is a URL."""
        if "://" not in location:
            path = Path(location).expanduser()
            if not path.is_file():
                raise ValueError(f"VLLM_PRECOMPILED_WHEEL_LOCATION is '{location}', which does not exist")
            return path
        path = folder / location.partition("#")[0].rpartition("/")[2]
        try:
            with urllib.request.urlopen(location) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
        except (urllib.error.URLError, OSError) as error:
            raise ValueError(f"VLLM_PRECOMPILED_WHEEL_LOCATION '{location}' cannot be fetched: {error}") from None
        return path

    @staticmethod
    def members(package: Path) -> Iterator[tuple[str, IO[bytes]]]:
        """(path below site-packages, contents) of every extension of vllm in a wheel or .conda."""
        with zipfile.ZipFile(package) as archive:
            if package.suffix == ".whl":
                for name in archive.namelist():
                    if name.startswith("vllm/") and name.endswith(SUFFIX):
                        yield name, archive.open(name)
                return
            (payload,) = (name for name in archive.namelist() if name.startswith("pkg-"))
            with archive.open(payload) as packed, _unpacked(packed) as plain, tarfile.open(fileobj=plain) as files:
                for member in files:
                    name = member.name.rpartition("site-packages/")[2]
                    contents = files.extractfile(member) if name.endswith(SUFFIX) else None
                    if name.startswith("vllm/") and contents:
                        yield name, contents

    @classmethod
    def extract(cls, location: str, prefix: Path) -> list[str]:
        """Put the extensions of the package at `location` below `prefix`; their paths below it.

        Raises:
            ValueError: there is no such package, or it holds no extension of vllm.
        """
        done = []
        with tempfile.TemporaryDirectory() as folder:
            package = cls.fetch(location, Path(folder))
            try:
                for name, contents in cls.members(package):
                    target = prefix / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    new = target.with_name(f".{target.name}.new")
                    with new.open("wb") as file:
                        shutil.copyfileobj(contents, file)
                    new.replace(target)
                    done.append(name)
            except (zipfile.BadZipFile, tarfile.TarError) as error:
                raise ValueError(f"'{location}' is not a wheel or .conda: {error}") from None
        if not done:
            raise ValueError(
                f"'{location}' holds no extension of vllm (vllm/*{SUFFIX}): name a package of a compiled lane"
            )
        return done


def _unpacked(packed: IO[bytes]) -> IO[bytes]:
    """A seekable file with the decompressed contents of a .tar.zst."""
    try:
        import zstandard
    except ImportError:
        raise ValueError("reading a .conda needs zstandard: pip install zstandard, or name a wheel") from None
    plain = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    zstandard.ZstdDecompressor().copy_stream(packed, plain)
    plain.seek(0)
    return plain


class precompiled_build_ext(build_ext):
    """Puts extensions of a built package in place of compiling them."""

    def run(self) -> None:
        if not self.extensions:
            return
        prefix = Path(__file__).resolve().parent.parent if self.inplace else Path(self.build_lib).resolve()
        try:
            names = precompiled_wheel_utils.extract(precompiled_wheel_utils.location(), prefix)
        except ValueError as error:
            sys.exit(f"vllm: {error}")
        modules = {name.removesuffix(SUFFIX).replace("/", ".") for name in names}
        self.extensions = [extension for extension in self.extensions if extension.name in modules]
        print(f"vllm: took {', '.join(sorted(names))} from {precompiled_wheel_utils.location()}")

    def get_outputs(self) -> list[str]:
        return [self.get_ext_fullpath(extension.name) for extension in self.extensions]
