"""Cross compilers and the emulator: Debian's packages, unpacked into the cache, nothing installed."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from tooling.checks import GB, require_disk
from tooling.cross.targets import HOST_LIBRARIES, Target
from tooling.errors import UserError
from tooling.installing.debs import DebError, unpack
from tooling.layout import Layout
from tooling.progress import Progress

WRAPPER = """#!/bin/sh
LD_LIBRARY_PATH={root}/usr/lib/x86_64-linux-gnu exec {root}/usr/bin/{triplet}-g++-12 --sysroot={root} "$@"
"""


def ensure_compiler(layout: Layout, target: Target, progress: Progress) -> Path:
    """A folder with bin/<triplet>-g++, a compiler for `target`, and the system root that it compiles against."""
    names = [*target.debs, *HOST_LIBRARIES]
    key = hashlib.blake2b(" ".join(names).encode() + WRAPPER.encode(), digest_size=5).hexdigest()
    folder = layout.cache / "cross" / f"{target.arch}-{key}"
    if folder.is_dir():
        return folder

    def finish(root: Path) -> None:
        (root / "bin").mkdir()
        wrapper = root / "bin" / f"{target.triplet}-g++"
        wrapper.write_text(WRAPPER.format(root=folder, triplet=target.triplet))
        wrapper.chmod(0o755)

    _unpacked(names, folder, f"a compiler for {target.arch}", progress, finish)
    return folder


def ensure_emulator(layout: Layout, target: Target, progress: Progress) -> Path:
    """qemu's user-mode emulator of `target`, this machine's or an unpacked one."""
    name = f"qemu-{target.arch}"
    installed = shutil.which(f"{name}-static") or shutil.which(name)
    if installed:
        return Path(installed)
    folder = layout.cache / "cross" / "qemu-user-static"
    if not folder.is_dir():
        _unpacked(["qemu-user-static"], folder, "qemu's user-mode emulators", progress)
    return folder / "usr" / "bin" / f"{name}-static"


def _unpacked(names: list[str], folder: Path, what: str, progress: Progress, finish=lambda root: None) -> None:
    require_disk(folder, 0.8 * GB, what)
    new = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        with progress.step(f"Unpacking {what} ({len(names)} Debian packages)"):
            root = unpack(names, new)
            finish(root)
            root.rename(folder)
    except DebError as error:
        raise UserError(f"{what}: {error}; the cross tests need Debian 12's packages") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
