"""What must be true of the machine before work begins; each failure is one line that says what to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tooling.errors import UserError

GB = 1e9


def require_disk(folder: Path, needed: float, purpose: str) -> None:
    """Refuse to start when the file system of `folder` has less than `needed` bytes left."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{purpose} needs {needed / GB:.1f} GB free in {folder}, which has {free / GB:.1f} GB; "
            "free some space, or set VLLM_RECIPES_HOME (builds) or XDG_CACHE_HOME (downloads) to a larger disk"
        )


def require_unspaced(folder: Path, variable: str) -> None:
    """Refuse to build in `folder` where its path has white space in it; environment variable `variable` chooses it."""
    if any(character.isspace() for character in str(folder)):
        raise UserError(
            f"{str(folder)!r} has white space in it, which compilers' flags cannot bear; "
            f"set {variable} to a folder without"
        )


def require_writable(folder: Path) -> None:
    """Make `folder`, or say why that cannot be done, or why nothing can be built in it."""
    require_unspaced(folder, "VLLM_RECIPES_HOME")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create {folder}: {error.strerror}; set VLLM_RECIPES_HOME to a writable folder"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} is not writable; set VLLM_RECIPES_HOME to a writable folder")
