"""wheels.lock: the wheels that the channel is made of, as pip's resolver chose them for the roots of wheels.yaml."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from standin.target import PLATFORMS, PYTHON, Python
from tooling.errors import UserError

HEADER = "# Written by `python -m standin --lock`: the wheels of wheels.yaml's roots and of all that they require.\n"
GROUP_HEADER = "# Written by `python -m standin --group GROUP --lock`: the wheels that the group names.\n"


@dataclass(frozen=True)
class Pin:
    """One line of the lock: exactly this file."""

    name: str
    version: str
    sha256: str


LOCK_LINE = re.compile(r"^([\w.-]+)==(\S+) --hash=sha256:([0-9a-f]{64})$")


def read_lock(text: str) -> list[Pin]:
    """Read NAME==VERSION --hash=sha256:DIGEST lines (the format of a pip requirements file)."""
    pins = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = LOCK_LINE.match(line)
        if match is None:
            raise UserError(f"lock line {number} is not NAME==VERSION --hash=sha256:DIGEST: {line}")
        pins.append(Pin(*match.groups()))
    return pins


def resolve_command(
    roots: tuple[str, ...], platforms: tuple[str, ...] = PLATFORMS, python: Python = PYTHON
) -> list[str]:
    """pip's command line that resolves for `python` and writes a report to standard output."""
    target = ["--python-version", python.version, "--implementation", "cp"]
    target += [part for abi in python.abis for part in ("--abi", abi)]
    target += [part for platform in platforms for part in ("--platform", platform)]
    options = ["--dry-run", "--ignore-installed", "--quiet", "--report", "-", "--only-binary", ":all:"]
    options += ["--target", "unused"]  # older pips want one before they resolve for another platform
    return [sys.executable, "-m", "pip", "install", *options, *target, *roots]


def lock_lines(report: dict) -> list[str]:
    """One line a wheel of a pip installation report, by name."""
    lines = {}
    for item in report["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        sha256 = item["download_info"]["archive_info"]["hashes"]["sha256"]
        lines[canonicalize_name(name)] = f"{name}=={version} --hash=sha256:{sha256}"
    return [lines[name] for name in sorted(lines)]


def write_lock(command: list[str], header: str, path: Path) -> int:
    """Resolve with pip's `command` and write; how many wheels were pinned."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UserError(f"pip cannot resolve the wheels of {path.name}: {(errors or ['no reason given'])[0]}")
    lines = lock_lines(json.loads(done.stdout))
    path.write_text(header + "\n".join(lines) + "\n")
    return len(lines)
