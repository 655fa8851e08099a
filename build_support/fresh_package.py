"""build_py into an empty folder: build/lib* is kept, and a wheel is all that lies in it."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py


class FreshBuildPy(build_py):
    """Starts without the libraries of the device that was built for before, and without modules that are gone since."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / "vllm", ignore_errors=True)
        super().run()
