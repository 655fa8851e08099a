"""Starts one compiler when there is room for it, records what it took, and tries it again alone if it was killed.

    python -ES compile_launcher.py BUILD_FOLDER SOURCE_ROOT COSTS_FILE COMMAND...

CMake puts this before every compile command. Each adds a line of JSON to BUILD_FOLDER/compile_record.jsonl:
source, object, start and end (seconds since 1970), user_s, peak_rss_kb (null where another process compiles, as with
sccache), cache (hit, miss or null), exit.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import time

if not __package__:
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
from build_support.compile_jobs import Queue
from build_support.memory import available_memory

RECORD = "compile_record.jsonl"
SOURCES = (".c", ".cc", ".cpp", ".cxx", ".cu", ".hip")
SAMPLE_SECONDS = 0.5
KILLED = (b"Killed signal terminated", b"command failed due to signal", b"unable to execute command: Killed",
          b"internal compiler error: Killed", b"due to signal 9")  # fmt: skip
"""How compiler drivers say that the kernel killed the compiler they started."""


def source_and_object(command: list[str], root: str) -> tuple[str, str]:
    """What a compile command reads, relative to `root` where it lies there, and what it writes."""
    output = command[command.index("-o") + 1] if "-o" in command[:-1] else ""
    sources = [word for word in command[1:] if word.endswith(SOURCES) and word != output]
    source = os.path.abspath(sources[-1]) if sources else command[0]
    inside = source.startswith(root + os.sep)
    return (os.path.relpath(source, root) if inside else source), output


def compiler_threads(command: list[str]) -> int:
    """nvcc's --threads=N: architectures that it compiles at once, each in memory of its own; 1 for other compilers."""
    found = [word.partition("=")[2] for word in command if word.startswith("--threads=")]
    return int(found[-1]) if found and found[-1].isdigit() else 1


def tree_rss_kb(pid: int) -> int:
    """Memory of a process and all its descendants in KiB; 0 where there is no /proc."""
    children: dict[int, list[int]] = {}
    pages: dict[int, int] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(name))
            pages[int(name)] = int(fields[21])
    total, stack = 0, [pid]
    while stack:
        process = stack.pop()
        total += pages.get(process, 0)
        stack += children.get(process, [])
    return total * os.sysconf("SC_PAGE_SIZE") // 1024


def run(command: list[str], environment: dict[str, str]) -> tuple[int, bytes, float, int]:
    """Run a command: its exit status as a shell gives it, its standard error, user seconds, peak memory in KiB."""
    with tempfile.TemporaryFile() as errors:
        actions = [(os.POSIX_SPAWN_DUP2, errors.fileno(), 2)]
        pid = os.posix_spawnp(command[0], command, environment, file_actions=actions)
        peak = 0
        if hasattr(os, "pidfd_open"):
            ended = select.poll()
            descriptor = os.pidfd_open(pid)
            ended.register(descriptor, select.POLLIN)
            while not ended.poll(SAMPLE_SECONDS * 1000):
                peak = max(peak, tree_rss_kb(pid))
            os.close(descriptor)
        _, status, usage = os.wait4(pid, 0)
        errors.seek(0)
        text = errors.read()
    largest = usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    code = os.waitstatus_to_exitcode(status)
    return (128 - code if code < 0 else code), text, usage.ru_utime, max(peak, largest)


def was_killed(code: int, errors: bytes) -> bool:
    """Whether the kernel ended the compiler for want of memory, as the exit status or the driver's message says."""
    return code == 128 + signal.SIGKILL or (code != 0 and any(phrase in errors for phrase in KILLED))


class Cache:
    """What sccache or ccache did, where the command starts with one of them."""

    def __init__(self, command: list[str], queue: Queue, source: str) -> None:
        self.program = os.path.basename(command[0])
        self.log = ""
        self.expected = queue.expected_seconds(source) if self.program == "sccache" else None

    def environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        if self.program == "ccache":
            handle, self.log = tempfile.mkstemp(prefix="ccache-")
            os.close(handle)
            environment["CCACHE_STATSLOG"] = self.log
        return environment

    def result(self, seconds: float) -> str | None:
        """hit, miss, or None without a cache. sccache does not tell; a hit takes a small part of a compilation."""
        if self.program == "ccache":
            with open(self.log) as file:
                hit = "cache_hit" in file.read()
            os.unlink(self.log)
            return "hit" if hit else "miss"
        if self.program == "sccache":
            return "hit" if seconds < 0.2 * (self.expected or 2.0) else "miss"
        return None


def record(folder: str, line: dict) -> None:
    """Append one line; a single write, so that lines of parallel compilers do not mix."""
    data = (json.dumps(line) + "\n").encode()
    descriptor = os.open(os.path.join(folder, RECORD), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def compile_once(queue: Queue, folder: str, root: str, command: list[str], alone: bool) -> tuple[int, bytes]:
    """Wait for room, compile, record; the exit status and what the compiler said."""
    source, output = source_and_object(command, root)
    cache = Cache(command, queue, source)
    environment = cache.environment()
    queue.enter(source, alone, compiler_threads(command))
    start = time.time()
    code, errors, user_seconds, peak = run(command, environment)
    end = time.time()
    outcome = cache.result(end - start)
    measured = None if cache.program == "sccache" else peak
    refine = code == 0 and outcome != "hit"
    queue.leave(source, measured if refine else None, end - start)
    times = {"start": round(start, 3), "end": round(end, 3), "user_s": round(user_seconds, 3)}
    record(
        folder, {"source": source, "object": output} | times | {"peak_rss_kb": measured, "cache": outcome, "exit": code}
    )
    return code, errors


def main(arguments: list[str]) -> int:
    """Compile, once more and alone if the compiler was killed; its exit status."""
    folder, root, costs, *command = arguments
    queue = Queue(folder, costs)
    try:
        code, errors = compile_once(queue, folder, root, command, alone=False)
        if was_killed(code, errors):
            source, output = source_and_object(command, root)
            print(f"vllm: the compiler of {source} was killed; it is tried again alone", flush=True)
            code, errors = compile_once(queue, folder, root, command, alone=True)
            if was_killed(code, errors):
                if output and os.path.exists(output):
                    os.unlink(output)
                free = available_memory() / 1e9
                print(
                    f"vllm: the compiler of {source} was killed twice, the second time alone with {free:.1f} GB free: "
                    "free some memory, add swap, or build for fewer architectures",
                    flush=True,
                )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"vllm: {error}\n")
        return 1
    sys.stderr.buffer.write(errors)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
