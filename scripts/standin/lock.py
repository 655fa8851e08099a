"""Writes wheels.lock: what pip's resolver chooses today for the roots of wheels.yaml."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name

from standin.index import PLATFORMS
from standin.wheel_recipe import WheelTable
from tooling.errors import UserError

HEADER = "# Written by `python -m standin --lock`: the wheels of wheels.yaml's roots and of all that they require.\n"


def resolve_command(roots: tuple[str, ...]) -> list[str]:
    """pip's command line that resolves for the stand-in's Python and writes a report to standard output."""
    target = ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none"]
    target += [part for platform in PLATFORMS for part in ("--platform", platform)]
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


def write_lock(table: WheelTable, path: Path) -> int:
    """Resolve and write; how many wheels were pinned."""
    done = subprocess.run(resolve_command(table.roots), capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UserError(f"pip cannot resolve wheels.yaml: {(errors or ['no reason given'])[0]}")
    lines = lock_lines(json.loads(done.stdout))
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return len(lines)
