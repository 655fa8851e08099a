"""The CPU: its name, its cores, and the memory that this process may take."""

import logging
import os
import platform
import sys
from functools import cached_property
from pathlib import Path

import psutil

from vllm import envs
from vllm.platforms.cpu_topology import allowed_cpus, chosen_cpus, given_cpus
from vllm.platforms.interface import Platform, PlatformEnum

# Turns of GNU OpenMP's waiting loop, about 20 microseconds.
_SPIN_COUNT = "1000"
# Variables by which users bind OpenMP's threads themselves.
_OWN_BINDING = ("GOMP_CPU_AFFINITY", "OMP_PROC_BIND", "OMP_PLACES", "KMP_AFFINITY")
_log = logging.getLogger(__name__)
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

    def device_count(self) -> int:
        """The CPUs of a machine are one device."""
        return 1

    def free_memory(self) -> int:
        return self.host_free_memory()

    def host_free_memory(self) -> int:
        """What the system has available, or what the control group (a container's limit) leaves, if less."""
        free = psutil.virtual_memory().available
        try:
            limit = int((_CGROUP / "memory.max").read_text())
            used = int((_CGROUP / "memory.current").read_text())
            cached = _statistic(_CGROUP / "memory.stat", "inactive_file")
        except (OSError, ValueError):  # no limit ("max"), or no version 2 control groups
            return free
        return max(min(free, limit - used + cached), 0)

    def prepare(self, own_process: bool = False, rank: int = 0, ranks: int = 1) -> None:
        """Bounds how long OpenMP's threads spin before they sleep, unless the user has chosen.

        Between two kernels they wait a few microseconds. GNU OpenMP spins for milliseconds, which takes the core
        away from whoever is being waited for once anything else runs on the machine: 20 times slower was measured.
        """
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)
        if envs.VLLM_CPU_OMP_THREADS_BIND == "auto" and not own_process:
            return  # a bound main thread hands its one CPU on to whatever the user's program starts
        cpus = self._bound_cpus(rank, ranks)
        if cpus is None or any(name in os.environ for name in _OWN_BINDING):
            return
        if "torch" not in sys.modules:
            os.environ["GOMP_CPU_AFFINITY"] = " ".join(map(str, cpus))
        else:
            _log.warning(
                "VLLM_CPU_OMP_THREADS_BIND has no effect: torch is loaded already; build the engine before importing it"
            )

    def num_threads(self, rank: int = 0, ranks: int = 1) -> int:
        """One for each CPU that VLLM_CPU_OMP_THREADS_BIND gives this rank or the topology suggests."""
        cpus = self._bound_cpus(rank, ranks)
        return len(self._chosen_cpus(rank, ranks) if cpus is None else cpus)

    def _bound_cpus(self, rank: int, ranks: int) -> list[int] | None:
        """CPUs that threads are bound to; None: to none. Refuses CPUs that this process may not run on."""
        given = envs.VLLM_CPU_OMP_THREADS_BIND
        if given == "nobind":
            return None
        if given == "auto":
            return self._chosen_cpus(rank, ranks)
        return given_cpus(given, self._allowed, rank, ranks)

    def _chosen_cpus(self, rank: int, ranks: int) -> list[int]:
        return chosen_cpus(self._allowed, envs.VLLM_CPU_NUM_OF_RESERVED_CPU, rank=rank, ranks=ranks)

    @cached_property
    def _allowed(self) -> set[int]:
        """Asked for once: a bound thread may run on one CPU only."""
        return allowed_cpus()


def _statistic(path: Path, name: str) -> int:
    pairs = (line.split() for line in path.read_text().splitlines())
    return next(int(value) for key, value in pairs if key == name)
