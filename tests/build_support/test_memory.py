"""Memory that a build may take, from made-up kernels."""

import os

from build_support.memory import available_memory, cores

GB = 1 << 30


def proc(folder, free_gb: int, cgroup: str):
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {free_gb * GB // 1024} kB\n")
    (folder / "proc/self/cgroup").write_text(cgroup)


def group(folder, path: str, **files: str):
    target = folder / "cgroup" / path
    target.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (target / name.replace("__", ".")).write_text(text)


def available(folder) -> float:
    return available_memory(str(folder / "proc"), str(folder / "cgroup")) / GB


def test_no_control_group(tmp_path):
    proc(tmp_path, 8, "")
    assert available(tmp_path) == 8


def test_limit_of_the_second_version_less_what_is_used(tmp_path):
    proc(tmp_path, 8, "0::/job\n")
    group(tmp_path, "job", memory__max=str(4 * GB), memory__current=str(3 * GB), memory__stat=f"inactive_file {GB}\n")
    assert available(tmp_path) == 2


def test_limit_of_an_enclosing_group(tmp_path):
    proc(tmp_path, 8, "0::/slice/job\n")
    group(tmp_path, "slice/job", memory__max="max", memory__current="0")
    group(tmp_path, "slice", memory__max=str(3 * GB), memory__current="0")
    assert available(tmp_path) == 3


def test_limit_of_the_first_version(tmp_path):
    proc(tmp_path, 8, "4:cpu,cpuacct:/\n3:memory:/job\n")
    group(tmp_path, "memory/job", memory__limit_in_bytes=str(5 * GB), memory__usage_in_bytes=str(4 * GB))
    group(tmp_path, "memory", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="0")
    assert available(tmp_path) == 1


def test_more_used_than_allowed_leaves_nothing(tmp_path):
    proc(tmp_path, 8, "0::/\n")
    group(tmp_path, "", memory__max=str(GB), memory__current=str(2 * GB))
    assert available(tmp_path) == 0


def test_this_machine():
    assert available_memory() > 0
    assert 1 <= cores() <= (os.cpu_count() or 1)
