"""Debs by apt's own client, with its sources and keys but with folders of ours, so that no root is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

from tooling.errors import UserError

MACHINE_SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
UPSTREAM = re.compile(r"(?:\d+:)?(\d+(?:\.\d+)*)")
"""The leading numbers of a Debian version, without its epoch: 1:1.2.13.dfsg-1 -> 1.2.13."""


def upstream_version(debian_version: str) -> str:
    """The version that conda knows the software by."""
    match = UPSTREAM.match(debian_version)
    if match is None:
        raise UserError(f"apt offers a version that does not begin with a number: {debian_version}")
    return match[1]


def deb_version(deb: Path) -> str:
    """The upstream version in a deb's file name, NAME_VERSION_ARCH.deb."""
    return upstream_version(deb.name.split("_")[1].replace("%3a", ":"))


class Apt:
    """Downloads debs into a folder of its own. `update` must run before `download`; threads may share one."""

    def __init__(self, folder: Path, sources: Path | None = None) -> None:
        self.folder = folder
        self.sources = sources
        self._one_at_a_time = threading.Lock()
        self._updated = False
        self.debs = folder / "debs"
        self._unreachable = ""
        """What `update` could not fetch: the likely reason for a deb that is not found."""

    def fetch_source(self, name: str, suite: str) -> Path:
        """Upstream's archive in the source package `name` of another release of Debian than the machine's."""
        with self._one_at_a_time:
            other = Apt(self.folder / suite, self._write_sources(suite))
        other.update()
        return other._fetch_archive(name)

    def _write_sources(self, suite: str) -> Path:
        """A sources.list with the source packages of `suite`, from where the machine takes Debian's main packages."""
        listed = self._run("indextargets", "--format", "$(CREATED_BY) $(COMPONENT) $(CODENAME) $(SITE)").stdout
        targets = [line.split() for line in listed.splitlines() if line.startswith("Packages main ")]
        sites = {site for _, _, codename, site in targets if codename == MACHINE_SUITE}
        if not sites:
            raise UserError(f"apt's sources (/etc/apt) name no {MACHINE_SUITE} main: it is where {suite} is looked for")
        signed = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
        file = self.folder / f"{suite}.list"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"deb-src{signed} {site} {suite} main\n" for site in sorted(sites)))
        return file

    def _fetch_archive(self, name: str) -> Path:
        listed = self._run("source", "--print-uris", name)
        files = [line.split()[1] for line in listed.stdout.splitlines() if line.startswith("'")]
        archives = [file for file in files if ".orig.tar." in file and not file.endswith(".asc")]
        if listed.returncode or not archives:
            raise UserError(explain("source", listed.stderr or f"E: {name} has no upstream archive"))
        if not (self.debs / archives[0]).exists():
            partial = self.folder / "partial"
            done = self._run("source", "--download-only", name, cwd=partial)
            if done.returncode:
                raise UserError(explain("source", done.stderr))
            os.replace(partial / archives[0], self.debs / archives[0])
        return self.debs / archives[0]

    def command(self, *arguments: str) -> list[str]:
        """An apt-get command line that reads the machine's sources, or `sources`, and writes below `folder` only."""
        options = {
            "Dir::State": self.folder / "state",
            "Dir::State::Lists": self.folder / "lists",
            # Nothing counts as installed: versions come from the sources alone.
            "Dir::State::Status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "APT::Architecture": "amd64",
            # As root, apt would hand downloads to a user who may not write here.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "30",
            "Acquire::https::Timeout": "30",
        }
        if self.sources:
            options |= {"Dir::Etc::SourceList": self.sources, "Dir::Etc::SourceParts": "/dev/null"}
        return [
            "apt-get",
            "-q",
            *(part for key, value in options.items() for part in ("-o", f"{key}={value}")),
            *arguments,
        ]

    def update(self) -> None:
        """Fetch the package lists, once. Some of several sources may fail: what counts is that the debs are found."""
        with self._one_at_a_time:
            if not self._updated:
                self._update()
            self._updated = True

    def _update(self) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise UserError(
                "the stand-in channel is made of Debian packages, and this machine has no apt-get and dpkg-deb; "
                "run on Debian 12, or make conda-forge reachable"
            )
        for name in ("state", "lists/partial", "cache/archives/partial", "debs", "partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        done = self._run("update")
        problems = [line[2:].strip() for line in done.stderr.splitlines() if line.startswith(("E:", "W: Failed"))]
        self._unreachable = problems[0] if problems else ""

    def download(self, names: list[str]) -> dict[str, Path]:
        """Fetch the debs of `names` that are not there yet; apt checks their hashes against its signed lists."""
        with self._one_at_a_time:
            return self._download(names)

    def _download(self, names: list[str]) -> dict[str, Path]:
        wanted = self._candidates(names)
        partial = self.folder / "partial"
        missing = [name for name, file in wanted.items() if not (self.debs / file).exists()]
        if missing:
            done = self._run("download", *missing, cwd=partial)
            if done.returncode:
                raise UserError(explain("download", done.stderr))
        for name in missing:
            os.replace(partial / wanted[name], self.debs / wanted[name])
        return {name: self.debs / file for name, file in wanted.items()}

    def _candidates(self, names: list[str]) -> dict[str, str]:
        """The file name of each deb, as apt would download it."""
        done = self._run("download", "--print-uris", *names)
        if done.returncode and self._unreachable:
            raise UserError(explain("update", f"E: {self._unreachable}"))
        if done.returncode:
            raise UserError(explain("download", done.stderr))
        files = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("'")]
        return {file.partition("_")[0]: file for file in files}

    def _run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )


def explain(action: str, stderr: str) -> str:
    """One line for what apt-get wrote on its way out."""
    errors = [line.removeprefix("E:").strip() for line in stderr.splitlines() if line.startswith("E:")]
    reason = errors[0] if errors else (stderr.strip().splitlines() or ["no reason given"])[-1]
    if "No space left" in stderr:
        return f"apt-get {action}: the disk is full ({reason}); free some space and run the command again"
    if "Hash Sum mismatch" in stderr:
        return f"apt-get {action}: a download does not have its hash ({reason}); run the command again"
    if "Unable to locate package" in stderr or "Can't select candidate" in stderr:
        return f"apt-get {action}: {reason}; apt's sources must include Debian 12 (bookworm) main"
    return f"apt-get {action} failed: {reason}; check the network and apt's sources (/etc/apt), then run it again"
