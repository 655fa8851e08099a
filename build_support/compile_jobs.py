"""Which compiler may start when: as many as there are cores and room in memory, the heaviest sources first.

The launchers of one build folder share a file of state under a lock; there is no server to start or to stop. A launcher
that died is dropped as soon as another one looks.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator

from build_support.memory import UNLIMITED, available_memory, cores

STATE, LOCK = "compile_jobs.json", "compile_jobs.lock"
DEFAULT_RSS_KB = {".cu": 1_500_000, ".hip": 1_500_000}
OTHER_RSS_KB = 700_000
SHARE_OF_MEMORY = 0.9
"""Of the memory that is free when a build begins, what compilers may take; links and the user keep the rest."""
MAX_PASSED_OVER = 8
"""How often a job that does not fit is passed over by lighter ones before they all wait until it fits."""
SETTLE_SECONDS = 0.1
"""How long the first job of a build waits for others, so that the heaviest of them is the first one to run."""
POLL_SECONDS = 0.05


def max_jobs() -> int | None:
    """MAX_JOBS, or None where it is not set."""
    text = os.environ.get("MAX_JOBS", "").strip()
    if text and (not text.isdecimal() or int(text) < 1):
        raise ValueError(f"MAX_JOBS is '{text}': set it to a number of compile processes, 1 or more, or unset it")
    return int(text) if text else None


def may_start(pid: int, waiting: list[dict], running: list[dict], jobs: int, budget_kb: int) -> bool:
    """Whether the waiting job of `pid` is the next to start.

    A job has pid, rss_kb (memory it is expected to take), alone (it was killed and is tried again by itself) and
    passed_over (how often others that are lighter went first). Jobs that are passed over here are counted.
    """
    if any(job["alone"] for job in running):
        return False
    order = sorted(waiting, key=lambda job: (not job["alone"], -job["rss_kb"], job["pid"]))
    if not running or order[0]["alone"]:
        return not running and order[0]["pid"] == pid
    if len(running) >= jobs:
        return False
    room = budget_kb - sum(job["rss_kb"] for job in running)
    for index, job in enumerate(order):
        if job["rss_kb"] <= room:
            if job["pid"] == pid:
                for heavier in order[:index]:
                    heavier["passed_over"] += 1
            return job["pid"] == pid
        if job["passed_over"] >= MAX_PASSED_OVER:
            return False
    return False


def _born(pid: int) -> str | None:
    """When the process started, in kernel ticks: with its pid, its identity. None where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except OSError:
        pass
    if os.path.isdir("/proc/self"):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    return "alive"


class Queue:
    """The jobs of the build folder `folder`; `costs_file` holds the measured costs that the project ships."""

    def __init__(self, folder: str, costs_file: str | None = None) -> None:
        self.folder = folder
        self.costs_file = costs_file
        self.pid = os.getpid()

    @contextlib.contextmanager
    def _state(self) -> Iterator[dict]:
        path = os.path.join(self.folder, STATE)
        with open(os.path.join(self.folder, LOCK), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                with open(path) as file:
                    state = json.load(file)
            except (OSError, ValueError):
                state = {"running": [], "waiting": [], "budget_kb": 0, "costs": {}}
            for kind in ("running", "waiting"):
                state[kind] = [job for job in state[kind] if _born(job["pid"]) == job["born"]]
            yield state
            with open(f"{path}.new", "w") as file:
                json.dump(state, file)
            os.replace(f"{path}.new", path)

    def _expected_rss_kb(self, state: dict, source: str, threads: int = 1) -> int:
        if source in state["costs"]:  # measured in this folder, with as many threads
            return state["costs"][source]["peak_rss_kb"]
        cost = shipped_costs(self.costs_file).get(source)  # with one thread
        default = DEFAULT_RSS_KB.get(os.path.splitext(source)[1], OTHER_RSS_KB)
        return threads * cost["peak_rss_kb"] if cost else default

    def enter(self, source: str, alone: bool = False, threads: int = 1) -> None:
        """Wait until `source` may be compiled by a compiler of so many threads; `alone`: and nothing else meanwhile."""
        with self._state() as state:
            idle = not state["running"] and not state["waiting"]
            rss_kb = self._expected_rss_kb(state, source, threads)
            state["waiting"].append(
                {"pid": self.pid, "born": _born(self.pid), "rss_kb": rss_kb, "alone": alone, "passed_over": 0}
            )
        if idle:
            time.sleep(SETTLE_SECONDS)
        while not self._start():
            time.sleep(POLL_SECONDS)

    def _start(self) -> bool:
        limit = max_jobs()
        with self._state() as state:
            running, waiting = state["running"], state["waiting"]
            if not running:
                room = UNLIMITED if limit else available_memory()
                state["budget_kb"] = int(room * SHARE_OF_MEMORY) // 1024
            if not may_start(self.pid, waiting, running, limit or cores(), state["budget_kb"]):
                return False
            job = next(job for job in waiting if job["pid"] == self.pid)
            waiting.remove(job)
            running.append(job)
            return True

    def leave(self, source: str, peak_rss_kb: int | None = None, seconds: float = 0.0) -> None:
        """The job is over; `peak_rss_kb` is what it took, where that was measured."""
        with self._state() as state:
            state["running"] = [job for job in state["running"] if job["pid"] != self.pid]
            if peak_rss_kb is not None:
                state["costs"][source] = {"peak_rss_kb": peak_rss_kb, "seconds": round(seconds, 2)}

    def expected_seconds(self, source: str) -> float | None:
        """How long the source took the last time, or the project's own measurement."""
        with self._state() as state:
            cost = state["costs"].get(source) or shipped_costs(self.costs_file).get(source)
        return cost["seconds"] if cost else None


def shipped_costs(path: str | None) -> dict[str, dict]:
    """{source: {"peak_rss_kb", "seconds"}} of a costs file; empty where there is none."""
    if path is None or not os.path.exists(path):
        return {}
    with open(path) as file:
        return json.load(file)
