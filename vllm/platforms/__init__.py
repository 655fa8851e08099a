"""What machine this is. `current_platform` is found when it is first used, without importing torch."""

from functools import cache
from typing import Any

from vllm.platforms.interface import CpuArchEnum, DeviceCapability, Platform, PlatformEnum

__all__ = ["CpuArchEnum", "DeviceCapability", "Platform", "PlatformEnum", "current_platform"]


@cache
def _current() -> Platform:
    from vllm.platforms.cpu import CpuPlatform
    from vllm.platforms.gpu import find_gpu

    return find_gpu() or CpuPlatform()


def __getattr__(name: str) -> Any:
    if name == "current_platform":
        return _current()
    raise AttributeError(f"module 'vllm.platforms' has no attribute {name!r}")
