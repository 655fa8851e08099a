"""sdist: the sources are for every device, so their version names none."""

from __future__ import annotations

from setuptools.command.sdist import sdist

from build_support.version import source_version


class DeviceFreeSdist(sdist):
    """Names the archive, and the metadata in it, by the version without what a build adds."""

    def run(self) -> None:
        self.distribution.metadata.version = source_version()
        super().run()
