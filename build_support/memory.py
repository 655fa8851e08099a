"""Memory and cores that this process may use, as the kernel and control groups (containers) limit them."""

from __future__ import annotations

import os

UNLIMITED = 1 << 60
PROC = "/proc"
CGROUPS = "/sys/fs/cgroup"


def _number(path: str) -> int | None:
    try:
        with open(path) as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _field(path: str, name: str) -> int:
    """The number that follows `name` in a file of `name number` lines; 0 where it is missing."""
    try:
        with open(path) as file:
            for line in file:
                key, _, rest = line.partition(" ")
                if key.rstrip(":") == name:
                    return int(rest.split()[0])
    except OSError:
        pass
    return 0


def _own_groups(proc: str) -> list[tuple[str, str]]:
    """(folder below the cgroup root, path of the group) of the hierarchies that count memory."""
    groups = []
    try:
        with open(f"{proc}/self/cgroup") as file:
            for line in file:
                _, controllers, path = line.strip().split(":", 2)
                if controllers == "":
                    groups.append(("", path))
                elif "memory" in controllers.split(","):
                    groups.append(("memory", path))
    except OSError:
        pass
    return groups


def _left_in_group(folder: str) -> int:
    """Bytes that a control group may still take: its limit less what it uses, pages that can be dropped not counted."""
    for limit, used, dropped in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        maximum = _number(f"{folder}/{limit}")
        if maximum is not None and maximum < UNLIMITED:
            in_use = (_number(f"{folder}/{used}") or 0) - _field(f"{folder}/memory.stat", dropped)
            return max(0, maximum - in_use)
    return UNLIMITED


def available_memory(proc: str = PROC, cgroups: str = CGROUPS) -> int:
    """Bytes that can be taken without swapping: the least of the system's and of every enclosing control group."""
    left = _field(f"{proc}/meminfo", "MemAvailable") * 1024 or UNLIMITED
    for hierarchy, path in _own_groups(proc):
        while True:
            left = min(left, _left_in_group(os.path.normpath(f"{cgroups}/{hierarchy}/{path}")))
            if path in ("", "/"):
                break
            path = os.path.dirname(path)
    return left


def cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
