"""Packages that keep every promise but one."""

import shutil
from collections.abc import Callable

import pytest

import support.checkout  # noqa: F401
from support.conda_file import LIBRARY, Contents, shared_library
from tooling import package_checks


@pytest.fixture
def findings(tmp_path) -> Callable[..., dict[str, str]]:
    """Broken promises of a package by name; every other check has to find it sound."""

    def check(contents: Contents, build_folders: tuple[str, ...] = ()) -> dict[str, str]:
        with package_checks.opened(contents.write(tmp_path / "linux-64"), build_folders) as package:
            return {r.check.name: "; ".join(r.findings) for r in package_checks.run(package) if r.findings}

    return check


@pytest.fixture
def compiled(tmp_path) -> Callable[..., bytes]:
    """Compiles a shared library; skips where there is no compiler."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed (Debian: apt-get install gcc)")
    return lambda source="", *flags: shared_library(tmp_path / "compiled", source, *flags)


@pytest.fixture
def with_library(compiled) -> Callable[..., Contents]:
    """A package with one shared library, compiled from C."""

    def make(source: str = "int answer(void) { return 42; }", *flags: str, **others) -> Contents:
        return Contents(files={LIBRARY: compiled(source, *flags)}, **others)

    return make
