"""Replaces this process by a command that runs inside an environment, as `conda activate` would set it up."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

from tooling.errors import UserError
from tooling.installing.environments import USE_MARK
from tooling.layout import ROOT
from tooling.locks import hold_shared

SOURCE_AND_RUN = 'for f in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do . "$f"; done; exec "$@"'


# Of a user's Python, not of ours. An environment keeps the bytecode of what it imports, which is not the user's to
# tidy: without it torch, installed as it was packed, takes twice as long to import in every process.
NOT_TAKEN_OVER = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")


def variables(prefix: Path) -> dict[str, str]:
    """This process's environment variables as they are inside the environment `prefix`."""
    result = {name: value for name, value in os.environ.items() if name not in NOT_TAKEN_OVER}
    result["PATH"] = f"{prefix / 'bin'}{os.pathsep}{result.get('PATH', os.defpath)}"
    result["CONDA_PREFIX"] = str(prefix)
    result["CONDA_DEFAULT_ENV"] = prefix.name
    result["PYTHONNOUSERSITE"] = "1"
    if Path.cwd() == ROOT:
        # Here `python -c` and `-m` would import the checkout's vllm/, which has no compiled kernels.
        result["PYTHONSAFEPATH"] = "1"
    return result


def execute(prefix: Path, command: list[str]) -> NoReturn:
    """Become `command` inside `prefix`; the environment is kept from being replaced for as long as it runs."""
    environment = variables(prefix)
    if command[1:2] and command[1].endswith(".py"):
        environment.pop("PYTHONSAFEPATH", None)  # of a script, Python puts its own folder on the path, not this one
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise UserError(f"{command[0]}: no such command in {prefix / 'bin'} or on PATH")
    hold_shared(prefix / USE_MARK)
    if any((prefix / "etc/conda/activate.d").glob("*.sh")):
        os.execve("/bin/bash", ["bash", "-c", SOURCE_AND_RUN, "bash", *command], environment)
    os.execve(program, command, environment)
