"""The machines and the Pythons that the channel's packages are for, whichever this code itself runs on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Python:
    """A CPython on Linux."""

    full_version: str
    """As in 3.11.2."""

    @property
    def version(self) -> str:
        """As in 3.11."""
        return self.full_version.rpartition(".")[0]

    @property
    def release(self) -> tuple[int, ...]:
        """As in (3, 11)."""
        return tuple(map(int, self.version.split(".")))

    @property
    def digits(self) -> str:
        """As in 311, which stands in tags and build strings."""
        return self.version.replace(".", "")

    @property
    def abis(self) -> tuple[str, ...]:
        """Binary interfaces of wheels that it loads."""
        return (f"cp{self.digits}", "abi3", "none")

    @property
    def markers(self) -> dict[str, str]:
        """What environment markers in requirements (PEP 508) are evaluated against."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.full_version,
            "os_name": "posix",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.full_version,
            "python_version": self.version,
            "sys_platform": "linux",
            "extra": "",
        }


PYTHON = Python("3.11.2")
"""That of the default packages."""


def platforms(machine: str) -> tuple[str, ...]:
    """Wheel platforms that Debian 12's C library (2.36) satisfies on a machine, named as Python names it."""
    old = ("manylinux2014", "manylinux2010", "manylinux1", "linux")
    return tuple(f"{tag}_{machine}" for tag in (*(f"manylinux_2_{minor}" for minor in range(36, 4, -1)), *old))


PLATFORMS = platforms("x86_64")
