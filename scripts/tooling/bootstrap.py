"""Make the private tool environment with nothing but a Python's standard library.

Run as `python bootstrap.py FOLDER REQUIREMENTS`. Debian splits pip and venv out of its python3 package, so pip is
taken, in this order, from: this Python's ensurepip, Debian's wheel folder, this Python's own pip, and last from the
python3-pip-whl package, downloaded (not installed) with apt.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tooling.installing.debs import DebError, unpack  # noqa: E402
from tooling.stopping import reading, stop_as_by_ctrl_c  # noqa: E402

DEBIAN_WHEELS = Path("/usr/share/python-wheels")
HINT = "install it (Debian: apt-get install python3-venv python3-pip) and run the command again"


class BootstrapError(Exception):
    """One line for the user."""


def say(line: str) -> None:
    """Show one plain line; rich is not there yet."""
    print(f"[tools] {line}", file=sys.stderr, flush=True)


def pip_in_wheel_folders() -> Path | None:
    """A pip wheel that this machine already holds, newest first."""
    folders = [DEBIAN_WHEELS]
    try:
        import ensurepip

        folders.insert(0, Path(ensurepip.__file__).parent / "_bundled")
    except ImportError:
        pass
    wheels = [wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"), reverse=True)]
    return wheels[0] if wheels else None


def download_pip_wheel(folder: Path) -> Path:
    """Fetch Debian's python3-pip-whl with apt and unpack it under `folder`."""
    say("no pip on this machine: fetching python3-pip-whl with apt-get")
    try:
        root = unpack(["python3-pip-whl"], folder)
    except DebError as error:
        raise BootstrapError(
            f"pip was not found for {sys.executable} and cannot be fetched ({error}); {HINT}"
        ) from None
    return next(root.glob("usr/share/python-wheels/pip-*.whl"))


def pip_command(environment: Path, scratch: Path) -> list[str]:
    """The command line that installs into `environment`, up to and including `install`."""
    python = str(environment / "bin" / "python")
    wheel = pip_in_wheel_folders()
    if (
        wheel is None
        and subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0
    ):
        return [sys.executable, "-m", "pip", "--python", python, "install"]
    wheel = wheel or download_pip_wheel(scratch)
    return [python, f"{wheel}/pip", "install"]


def create_environment(folder: Path) -> None:
    """Make an empty virtual environment in `folder`.

    Its Python is the one of this minor version: /usr/bin/python3 may be another one after an upgrade, without packages.
    """
    try:
        import venv
    except ImportError:
        raise BootstrapError(f"{sys.executable} has no venv module; {HINT}") from None
    venv.create(folder, symlinks=True, with_pip=False)
    for link in (folder / "bin").glob("python*"):
        if os.path.isabs(os.readlink(link)):
            python = os.path.realpath(link)
            link.unlink()
            link.symlink_to(python)


def install(environment: Path, requirements: Path, scratch: Path) -> None:
    """Install `requirements` into `environment`, showing what pip fetches."""
    command = [*pip_command(environment, scratch), "--disable-pip-version-check", "--no-warn-script-location"]
    lines = []
    with reading([*command, "-r", str(requirements)]) as process:
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith(("Collecting", "Installing")):
                say(line.partition(" (from")[0].strip()[:100])
    if process.returncode:
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no output")
        raise BootstrapError(f"pip could not install {requirements}: {reason}")


def point_scripts_at(target: Path, environment: Path) -> None:
    """Rewrite the interpreter's path in scripts installed in `environment`, which is about to become `target`.

    It is in the first line or, where it is too long for that, in the second, which /bin/sh runs.
    """
    old, new = (f"{folder}/".encode() for folder in (environment, target))
    for script in (environment / "bin").iterdir():
        content = script.read_bytes() if script.is_file() and not script.is_symlink() else b""
        if content.startswith(b"#!") and any(old in line for line in content.split(b"\n", 2)[:2]):
            script.write_bytes(content.replace(old, new, 1))


def is_current(target: Path, requirements: Path) -> bool:
    """Whether `target` was made of these requirements, and by a Python that is still there."""
    stamp = target / "requirements.txt"
    made = stamp.exists() and stamp.read_bytes() == requirements.read_bytes()
    return made and os.access(target / "bin" / "python", os.X_OK)


def bootstrap(target: Path, requirements: Path) -> None:
    """Build the environment beside `target` and rename it into place, one process at a time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{target}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is making the tool environment: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if is_current(target, requirements):
            return
        started = time.monotonic()
        say(f"making the tool environment in {target}")
        new = Path(f"{target}.new")
        for leftover in (new, Path(f"{target}.old")):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                create_environment(new)
                install(new, requirements, Path(scratch))
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        point_scripts_at(target, new)
        shutil.copy(requirements, new / "requirements.txt")
        if target.exists():
            target.rename(f"{target}.old")
        new.rename(target)
        shutil.rmtree(f"{target}.old", ignore_errors=True)
        say(f"done in {time.monotonic() - started:.1f} s")


def main(arguments: list[str]) -> int:
    """Run with the target folder and the requirements file; exit status 2 with one line when it cannot work, 130 after
    Ctrl-C, SIGTERM or SIGHUP.
    """
    stop_as_by_ctrl_c()
    os.environ.pop("PYTHONPATH", None)
    os.environ.pop("PYTHONHOME", None)
    target, requirements = map(Path, arguments)
    try:
        bootstrap(target, requirements)
    except (BootstrapError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the next run makes the tool environment anew", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
