"""build_py into an empty folder: build/lib* is kept, and a wheel is all that lies in it."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py


class FreshBuildPy(build_py):
    """Starts without the libraries of the device that was built for before, and without modules that are gone since."""

    def run(self) -> None:
        # `setup.py build_ext bdist_wheel` has put its libraries there already.
        if not self.editable_mode and not self.distribution.have_run.get("build_ext"):
            shutil.rmtree(Path(self.build_lib) / "vllm", ignore_errors=True)
        super().run()
