"""Debian packages unpacked into a folder, not installed: apt's own client downloads, no root is needed.

Standard library only: bootstrap.py uses this before the tool environment exists.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


class DebError(Exception):
    """One line that says why apt could not deliver."""


def unpack(names: list[str], folder: Path) -> Path:
    """Download the newest `names` and unpack them below `folder`/root, which is returned."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise DebError("apt-get and dpkg-deb are needed to fetch them, and are not on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    if _apt(folder, [], "download", *names):
        problem = _apt(folder, _private_lists(folder), "update")
        problem = problem or _apt(folder, _private_lists(folder), "download", *names)
        if problem:
            raise DebError(problem)
    for deb in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder / "root")], check=True)
        deb.unlink()
    return folder / "root"


def _private_lists(folder: Path) -> list[str]:
    """Options that keep apt's package lists under `folder`: the system's may be missing or out of date."""
    state = folder / "apt"
    for name in ("lists", "archives"):
        (state / name / "partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={state}/lists", "-o", f"Dir::Cache={state}"]


def _apt(folder: Path, options: list[str], *arguments: str) -> str:
    """Run apt-get in `folder`; its last line of complaint if it failed, else nothing."""
    command = ["apt-get", "-qq", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", *options, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    lines = done.stderr.strip().splitlines() or ["apt-get gave no reason"]
    return lines[-1] if done.returncode else ""
