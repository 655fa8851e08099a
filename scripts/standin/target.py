"""The machine and the Python that the channel's packages are for, whichever this code itself runs on."""

from __future__ import annotations

PYTHON = (3, 11)
ABIS = ("cp311", "abi3", "none")
PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"),
)
"""Wheel platforms that Debian 12's C library (2.36) satisfies."""

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
