"""What keeps a package that breaks a promise from being published."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tooling.errors import UserError
from tooling.package_checks.archive import BadPackage
from tooling.package_checks.package import opened
from tooling.package_checks.registry import run


def require_promises(files: Iterable[Path], build_folders: tuple[str, ...] = ()) -> None:
    """Check every package of `files`; UserError that names each broken promise of the first that breaks one.

    `build_folders` are folders that no file of a package may name.
    """
    for file in files:
        try:
            with opened(file, build_folders) as package:
                failed = [f"{r.check.name}: {'; '.join(r.findings)}" for r in run(package) if r.findings]
        except BadPackage as problem:
            raise UserError(str(problem)) from None
        if failed:
            raise UserError(f"{file.name} is not published, it breaks {len(failed)} promise(s): {' | '.join(failed)}")
