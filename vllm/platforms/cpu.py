"""The CPU: its name, its cores, and the memory that this process may take."""

import os
import platform
from pathlib import Path

import psutil

from vllm.platforms.interface import Platform, PlatformEnum

# Turns of GNU OpenMP's waiting loop, about 20 microseconds.
_SPIN_COUNT = "1000"
_CGROUP = Path("/sys/fs/cgroup")


class CpuPlatform(Platform):
    kind = PlatformEnum.CPU
    device_type = "cpu"

    def device_name(self) -> str:
        try:
            lines = Path("/proc/cpuinfo").read_text().splitlines()
        except OSError:
            return platform.processor() or platform.machine()
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return next(names, platform.machine())

    def free_memory(self) -> int:
        """What the system has available, or what the control group (a container's limit) leaves, if less."""
        free = psutil.virtual_memory().available
        try:
            limit = int((_CGROUP / "memory.max").read_text())
            used = int((_CGROUP / "memory.current").read_text())
            cached = _statistic(_CGROUP / "memory.stat", "inactive_file")
        except (OSError, ValueError):  # no limit ("max"), or no version 2 control groups
            return free
        return max(min(free, limit - used + cached), 0)

    def prepare(self) -> None:
        """Bounds how long OpenMP's threads spin before they sleep, unless the user has chosen.

        Between two kernels they wait a few microseconds. GNU OpenMP spins for milliseconds, which takes the core
        away from whoever is being waited for once anything else runs on the machine: 20 times slower was measured.
        """
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)

    def num_threads(self) -> int:
        """One thread a core that this process may run on: a core's second thread shares its arithmetic units."""
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(min(psutil.cpu_count(logical=False) or allowed, allowed), 1)


def _statistic(path: Path, name: str) -> int:
    pairs = (line.split() for line in path.read_text().splitlines())
    return next(int(value) for key, value in pairs if key == name)
