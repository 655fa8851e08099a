"""The version of a build. vllm/version.py is the one place that states it; git and the device add to it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from build_support.target_device import version_suffix

ROOT = Path(__file__).resolve().parent.parent
GIVEN = ("VLLM_VERSION_OVERRIDE", "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_VLLM", "SETUPTOOLS_SCM_PRETEND_VERSION")
"""Environment variables that state the version, the first that is set."""


def stated_version(root: Path = ROOT) -> str:
    """The version that vllm/version.py states, read without importing vllm."""
    match = re.search(r'^__version__ = "([^"]+)"', (root / "vllm" / "version.py").read_text(), re.MULTILINE)
    if match is None:
        raise ValueError(f"{root}/vllm/version.py states no __version__")
    return match.group(1)


def revision(root: Path = ROOT) -> str:
    """``g<commit>`` where sources differ from a release, as setuptools-scm finds it.

    Empty at a tag, outside a checkout (an sdist, a conda build's copy) and without setuptools-scm.
    """
    if (root / "PKG-INFO").exists():  # of an sdist: setuptools-scm would take what is stated there for a commit
        return ""
    try:
        from setuptools_scm import get_version
    except ImportError:
        return ""
    try:
        return get_version(
            root=str(root),
            version_scheme=lambda version: "0",
            local_scheme=lambda version: "" if version.exact else f"+{version.node[:9]}",
        ).partition("+")[2]
    except (LookupError, ValueError):
        return ""


def given_version() -> str | None:
    """The version that the environment states, if it does."""
    return next(filter(None, map(os.environ.get, GIVEN)), None)


def source_version(root: Path = ROOT) -> str:
    """The version of the sources, whatever they are built for: ``0.33.0``."""
    return given_version() or stated_version(root)


def build_version(device: str, root: Path = ROOT) -> str:
    """The version of the package: ``0.33.0+cpu``, in a checkout past the release ``0.33.0+g1a2b3c4.cpu``.

    VLLM_VERSION_OVERRIDE, or SETUPTOOLS_SCM_PRETEND_VERSION, is taken as it is: a packager knows best.
    """
    if given := given_version():
        return given
    local = ".".join(part for part in (revision(root), version_suffix(device)) if part)
    return stated_version(root) + (f"+{local}" if local else "")
