"""Which CPUs the kernels' threads run on: what the process may use, a thread a core, one NUMA node."""

import os
from pathlib import Path

from vllm.exceptions import VLLMValidationError

_SYSTEM = Path("/sys/devices/system")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_BIND = "VLLM_CPU_OMP_THREADS_BIND"


def parse_cpu_list(text: str) -> list[int]:
    """Numbers and ranges as Linux writes them: "0-3,8" is [0, 1, 2, 3, 8]. Raises ValueError for anything else."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise ValueError(f"{part!r} is no CPU number and no range")
        cpus += range(int(first), int(last if dash else first) + 1)
    return cpus


def given_cpus(given: str, allowed: set[int], rank: int = 0, ranks: int = 1) -> list[int]:
    """The list that the user gave for this rank, checked against the CPUs that the process may run on."""
    lists = given.split("|")
    if len(lists) != ranks:
        raise VLLMValidationError(
            f"{_BIND}={given!r} is not accepted: it has CPUs for {len(lists)} ranks, tensor_parallel_size is {ranks}; "
            f"give auto, or {ranks} lists with | between them",
            _BIND,
        )
    try:
        cpus = parse_cpu_list(lists[rank])
    except ValueError as error:
        raise VLLMValidationError(
            f"{_BIND}={given!r} is not accepted ({error}): give auto, nobind, or CPUs such as 0-3,8", _BIND
        ) from None
    if outside := sorted(set(cpus) - allowed):
        shown = ",".join(map(str, sorted(allowed)))
        raise VLLMValidationError(
            f"{_BIND}={given!r} is not accepted: this process may not run on CPU {outside[0]}; it may on {shown}", _BIND
        )
    return list(dict.fromkeys(cpus))


def chosen_cpus(
    allowed: set[int],
    reserved: int,
    system: Path = _SYSTEM,
    quota: Path = _CPU_QUOTA,
    rank: int = 0,
    ranks: int = 1,
) -> list[int]:
    """One CPU of each core, of the NUMA node with most of them; never more than the control group's quota pays for.

    A core's second thread shares its arithmetic units; another node's memory is further away. `reserved` CPUs are
    left to others, the last ones. Of several ranks each has a node, or an equal stretch of all cores.
    """
    cores = [cpu for cpu in sorted(allowed) if min(_siblings(cpu, system) & allowed, default=cpu) == cpu]
    nodes = [[cpu for cpu in cores if cpu in node] for node in _nodes(system)]
    cpus = _of_rank(sorted(filter(None, nodes), key=len, reverse=True) or [cores], rank, ranks)
    if reserved >= len(cpus):
        raise VLLMValidationError(
            f"VLLM_CPU_NUM_OF_RESERVED_CPU={reserved} is not accepted: there are {len(cpus)} cores to use, and at "
            "least one must be left",
            "VLLM_CPU_NUM_OF_RESERVED_CPU",
        )
    cpus = cpus[: len(cpus) - reserved]
    return cpus[: max(_quota_cpus(quota, len(cpus) * ranks) // ranks, 1)]


def _of_rank(nodes: list[list[int]], rank: int, ranks: int) -> list[int]:
    """A rank's node where there are enough; else its stretch of all cores, at least one, which others may have, too."""
    if ranks <= len(nodes):
        return nodes[rank]
    cores = [cpu for node in nodes for cpu in node]
    start, end = (len(cores) * each // ranks for each in (rank, rank + 1))
    return cores[start:end] or [cores[start]]


def allowed_cpus() -> set[int]:
    """CPUs that this process may run on (taskset, cpusets of containers)."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _siblings(cpu: int, system: Path) -> set[int]:
    """The threads of this CPU's core."""
    return _read_list(system / "cpu" / f"cpu{cpu}" / "topology" / "thread_siblings_list") or {cpu}


def _nodes(system: Path) -> list[set[int]]:
    return [_read_list(path / "cpulist") for path in sorted((system / "node").glob("node[0-9]*"))]


def _read_list(path: Path) -> set[int]:
    try:
        return set(parse_cpu_list(path.read_text()))
    except (OSError, ValueError):
        return set()


def _quota_cpus(path: Path, default: int) -> int:
    """Whole CPUs that a control group (version 2) may keep busy; `default` without a limit."""
    try:
        quota, period = path.read_text().split()
        return int(quota) // int(period)
    except (OSError, ValueError):  # "max", or no such file
        return default
