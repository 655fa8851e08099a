"""The test environment: the serving packages, what the tests need besides (by pip), and a few system programs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tooling import serving
from tooling.errors import UserError
from tooling.failures import first_error
from tooling.installing import environments
from tooling.installing.activation import variables
from tooling.installing.debs import DebError, unpack
from tooling.layout import Layout
from tooling.locks import exclusive
from tooling.progress import Progress
from tooling.stopping import reading

NAME = "test"
REQUIREMENTS = "requirements/test.txt"
BROWSER = ("chromium", "chromedriver")
EMULATOR = "qemu-x86_64-static"


def key(layout: Layout) -> str:
    """Changes with the serving environment and with the tests' own requirements."""
    parts = serving.key(layout).encode() + (layout.root / REQUIREMENTS).read_bytes()
    return hashlib.blake2b(parts, digest_size=6).hexdigest()


def ensure(layout: Layout, progress: Progress) -> Path:
    """The test environment's prefix; makes it when something has changed."""
    present = environments.current(layout, NAME, key(layout))
    if present:
        return present
    from tooling.building import builder
    from tooling.channels import base_channel

    with exclusive(layout.lock, progress):
        serving.ensure_locked(layout, progress)
        channels = builder.channel_urls(layout, base_channel(layout, progress))
        specs = [*serving.RECIPES, "pip"]
        prefix = environments.install(layout, NAME, key(layout), channels, specs, progress)
        install_requirements(layout, prefix, progress)
        environments.finish(layout, NAME, prefix)
    return prefix


def install_requirements(layout: Layout, prefix: Path, progress: Progress, file: str = REQUIREMENTS) -> None:
    """pip-install what the tests need, as `file` lists it, without replacing anything that the solver chose."""
    pip = [str(prefix / "bin" / "python"), "-m", "pip"]
    environment = variables(prefix) | {"PYTHONSAFEPATH": "1"}
    listed = subprocess.run([*pip, "list", "--format=freeze"], env=environment, capture_output=True, text=True)
    constraints = prefix / "conda-meta" / "constraints.txt"
    constraints.write_text(listed.stdout)
    command = [*pip, "install", "-r", str(layout.root / file), "-c", str(constraints)]
    output = []
    with progress.step(f"Installing {file} with pip") as step:
        with reading(command, environment) as process:
            for line in process.stdout:
                output.append(line)
                step.log(line)
                if line.startswith(("Collecting", "Installing")):
                    step.update(text=line.strip()[:80])
        if process.returncode:
            raise UserError(f"pip could not install {file}: {first_error(''.join(output))}")


def system_programs(layout: Layout, progress: Progress) -> Path:
    """A folder for PATH with the programs that tests start and this machine lacks. Without one, its tests skip."""
    folder = layout.cache / "programs"
    if not shutil.which(EMULATOR) and not (folder / "usr/bin" / EMULATOR).exists():
        with progress.step("Unpacking qemu-user-static"):
            _unpack_into(folder, ["qemu-user-static"], progress)
    if not all(map(shutil.which, BROWSER)):
        _install_browser(progress)
    return folder / "usr/bin"


def _unpack_into(folder: Path, names: list[str], progress: Progress) -> None:
    new = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        root = unpack(names, new)
        shutil.copytree(root, folder, dirs_exist_ok=True, symlinks=True)
    except DebError as error:
        progress.say(f"{' '.join(names)} could not be fetched ({error}): the tests that need it are skipped")
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _install_browser(progress: Progress) -> None:
    packages = ["chromium", "chromium-driver"]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        progress.say(f"no {' and '.join(packages)}: the web page's tests are skipped (Debian: install these packages)")
        return
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"Installing {' and '.join(packages)}"):
        for command in (install, ["apt-get", "update", "-qq"], install):
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            progress.log(done.stdout + done.stderr)
            if command is install and done.returncode == 0:
                return
    progress.say(f"apt-get could not install {' and '.join(packages)}: the web page's tests are skipped")
