"""Debs by apt's own client, with its sources and keys but with folders of ours, so that no root is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tooling.errors import UserError

UPSTREAM = re.compile(r"(?:\d+:)?(\d+(?:\.\d+)*)")
"""The leading numbers of a Debian version, without its epoch: 1:1.2.13.dfsg-1 -> 1.2.13."""


def upstream_version(debian_version: str) -> str:
    """The version that conda knows the software by."""
    match = UPSTREAM.match(debian_version)
    if match is None:
        raise UserError(f"apt offers a version that has no number in front: {debian_version}")
    return match[1]


class Apt:
    """Downloads debs into `folder`; `update` must have run once before `download`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.debs = folder / "debs"

    def command(self, *arguments: str) -> list[str]:
        """An apt-get command line that reads the machine's sources and writes below `folder` only."""
        options = {
            "Dir::State": self.folder / "state",
            "Dir::State::Lists": self.folder / "lists",
            # Nothing counts as installed: versions come from the sources alone.
            "Dir::State::Status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "APT::Architecture": "amd64",
            # As root, apt would drop to a user who may not write here.
            "APT::Sandbox::User": "root",
            "APT::Update::Post-Invoke-Success::": "true",
        }
        pairs = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        return ["apt-get", "-q", *pairs, *arguments]

    def update(self) -> None:
        """Fetch the package lists. One source out of several may fail: what counts is that the debs are found."""
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise UserError(
                "the stand-in channel is made from Debian packages, and this machine has no apt-get and dpkg-deb; "
                "use Debian 12, or make conda-forge reachable"
            )
        for name in ("state", "lists/partial", "cache/archives/partial", "debs", "partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        self._run("update")

    def download(self, names: list[str]) -> dict[str, Path]:
        """Fetch the debs of `names` that are not there yet; apt checks their hashes against its signed lists."""
        wanted = self._candidates(names)
        partial = self.folder / "partial"
        missing = [name for name, file in wanted.items() if not (self.debs / file).exists()]
        if missing:
            self._run("download", *missing, cwd=partial)
        for name in missing:
            file = wanted[name]
            if not (partial / file).exists():
                raise UserError(f"apt-get did not deliver {file}; run the command again")
            os.replace(partial / file, self.debs / file)
        return {name: self.debs / file for name, file in wanted.items()}

    def _candidates(self, names: list[str]) -> dict[str, str]:
        """The file name of each deb, as apt would download it."""
        lines = self._run("download", "--print-uris", *names).splitlines()
        files = [line.split()[1] for line in lines if line.startswith("'")]
        by_name = {file.partition("_")[0]: file for file in files}
        missing = sorted(set(names) - set(by_name))
        if missing:
            raise UserError(f"apt's sources do not offer {', '.join(missing)}; Debian 12's main section has them")
        return {name: by_name[name] for name in names}

    def _run(self, *arguments: str, cwd: Path | None = None) -> str:
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            self.command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise UserError(explain(arguments[0], done.stderr))
        return done.stdout


def explain(action: str, stderr: str) -> str:
    """One line for what apt-get wrote on its way out."""
    errors = [line.removeprefix("E:").strip() for line in stderr.splitlines() if line.startswith("E:")]
    reason = errors[0] if errors else (stderr.strip().splitlines() or ["no reason given"])[-1]
    if "No space left" in stderr:
        return f"apt-get {action}: the disk is full ({reason}); free some space and run the command again"
    if "Unable to locate package" in stderr or "Can't select candidate" in stderr:
        return f"apt-get {action}: {reason}; apt's sources must include Debian 12 (bookworm) main"
    if "Hash Sum mismatch" in stderr:
        return f"apt-get {action}: a download does not match its hash ({reason}); run the command again"
    return f"apt-get {action} failed: {reason}; check the network and apt's sources (/etc/apt), then run it again"


def deb_version(deb: Path) -> str:
    """The upstream version in a deb's file name, NAME_VERSION_ARCH.deb."""
    return upstream_version(deb.name.split("_")[1].replace("%3a", ":"))
