"""The machine and the Python that the channel's packages are for, whichever this code itself runs on."""

from __future__ import annotations

PYTHON = (3, 11)
ABIS = ("cp311", "abi3", "none")


def platforms(machine: str) -> tuple[str, ...]:
    """Wheel platforms that Debian 12's C library (2.36) satisfies on a machine, named as Python names it."""
    old = ("manylinux2014", "manylinux2010", "manylinux1", "linux")
    return tuple(f"{tag}_{machine}" for tag in (*(f"manylinux_2_{minor}" for minor in range(36, 4, -1)), *old))


PLATFORMS = platforms("x86_64")

MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.2",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
    "extra": "",
}
"""What environment markers in requirements (PEP 508) are evaluated against."""
