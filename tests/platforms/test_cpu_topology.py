"""Which CPUs threads are bound to, on made-up machines and on this one."""

import os
import subprocess
import sys

import pytest

from vllm.exceptions import VLLMValidationError
from vllm.platforms.cpu import CpuPlatform
from vllm.platforms.cpu_topology import allowed_cpus, chosen_cpus, given_cpus, parse_cpu_list


def machine(root, nodes, siblings=()):
    """A /sys/devices/system with these CPU lists of nodes and groups of threads of one core."""
    for index, cpus in enumerate(nodes):
        (root / "node" / f"node{index}").mkdir(parents=True)
        (root / "node" / f"node{index}" / "cpulist").write_text(cpus + "\n")
    for group in siblings:
        for cpu in parse_cpu_list(group):
            (root / "cpu" / f"cpu{cpu}" / "topology").mkdir(parents=True)
            (root / "cpu" / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(group + "\n")
    return root


def chosen(root, allowed, reserved=0, quota="max 100000", **ranks):
    (root / "cpu.max").write_text(quota)
    return chosen_cpus(set(allowed), reserved, root, root / "cpu.max", **ranks)


def of_ranks(ranks, *arguments, **options):
    return [chosen(*arguments, **options, rank=rank, ranks=ranks) for rank in range(ranks)]


def test_one_thread_a_core(tmp_path):
    root = machine(tmp_path, ["0-7"], ["0,4", "1,5", "2,6", "3,7"])
    assert chosen(root, range(8)) == [0, 1, 2, 3]
    assert chosen(root, [4, 5, 1]) == [1, 4]  # of a core whose first thread is not allowed, the second


def test_one_node(tmp_path):
    root = machine(tmp_path, ["0-3", "4-9"])
    assert chosen(root, range(10)) == [4, 5, 6, 7, 8, 9]
    assert chosen(root, [0, 1, 2, 9]) == [0, 1, 2]


def test_ranks_have_a_node_each_or_share_the_cores(tmp_path):
    root = machine(tmp_path, ["0-3", "4-9"])
    assert of_ranks(2, root, range(10)) == [[4, 5, 6, 7, 8, 9], [0, 1, 2, 3]]
    assert of_ranks(2, root, range(4)) == [[0, 1], [2, 3]]
    assert of_ranks(3, root, range(2)) == [[0], [0], [1]]
    assert of_ranks(2, root, range(4), quota="200000 100000") == [[0], [2]]
    assert of_ranks(2, root, range(10), reserved=1) == [[4, 5, 6, 7, 8], [0, 1, 2]]


def test_lists_by_rank():
    assert [given_cpus("0-1|3,2", {0, 1, 2, 3}, rank, 2) for rank in (0, 1)] == [[0, 1], [3, 2]]
    for given, ranks in (("0|1", 1), ("0", 2), ("0|1|2", 2)):
        with pytest.raises(VLLMValidationError, match=rf"tensor_parallel_size is {ranks}; give auto, or {ranks} lists"):
            given_cpus(given, {0, 1, 2, 3}, 0, ranks)


def test_reserved_and_quota(tmp_path):
    root = machine(tmp_path, ["0-3"])
    assert chosen(root, range(4), reserved=1) == [0, 1, 2]
    assert chosen(root, range(4), quota="250000 100000") == [0, 1]
    assert chosen(root, range(4), quota="50000 100000") == [0]
    with pytest.raises(VLLMValidationError, match=r"VLLM_CPU_NUM_OF_RESERVED_CPU=4 .* there are 4 cores"):
        chosen(root, range(4), reserved=4)


def test_machine_that_tells_nothing(tmp_path):
    assert chosen(tmp_path, [0, 2]) == [0, 2]


@pytest.mark.parametrize("given", ["", "a", "1-", "3-1", "0;1", "-1"])
def test_lists_that_are_refused(given):
    with pytest.raises(VLLMValidationError, match="give auto, nobind, or CPUs such as 0-3,8"):
        given_cpus(given, {0, 1, 2, 3})


def test_given_list():
    assert given_cpus("2,0-1,0", {0, 1, 2, 3}) == [2, 0, 1]
    with pytest.raises(VLLMValidationError, match="may not run on CPU 9; it may on 0,1"):
        given_cpus("0-1,9", {0, 1})


REPORT = """
import os, re
from vllm.platforms import current_platform
current_platform.prepare(own_process=True)
import torch
torch.set_num_threads(current_platform.num_threads())
import vllm.kernels.norm
x = torch.ones(512, 512) @ torch.ones(512, 512)
masks = {open(f"/proc/self/task/{t}/status").read().split("Cpus_allowed_list:")[1].split()[0]
         for t in os.listdir("/proc/self/task")}
runtimes = {m for m in re.findall(r"\\S+/(lib(?:g|i)?omp[^/\\s]*)", open("/proc/self/maps").read())}
print(torch.get_num_threads(), ";".join(sorted(masks)), len(runtimes))
"""


def report(**environment):
    """Threads of torch, the CPU lists of all threads, and how many OpenMP runtimes are in the process."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "VLLM_CPU_"))}
    done = subprocess.run(
        [sys.executable, "-c", REPORT], env={**kept, **environment}, capture_output=True, text=True, check=False
    )
    return done.stdout.split() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no CPU affinity on this system")
def test_threads_of_a_process():
    first = min(allowed_cpus())
    assert report(VLLM_CPU_OMP_THREADS_BIND=str(first)) == ["1", str(first), "1"]
    threads, masks, runtimes = report()
    assert threads == str(len(masks.split(";"))) and runtimes == "1"
    whole = report(VLLM_CPU_OMP_THREADS_BIND="nobind")
    assert len(whole[1].split(";")) == 1 and whole[2] == "1"


def test_a_cpu_is_one_device():
    assert CpuPlatform().device_count() == 1


def test_refusal_is_one_line():
    assert "VLLM_CPU_OMP_THREADS_BIND='x' is not accepted" in report(VLLM_CPU_OMP_THREADS_BIND="x")
    assert "give a whole number from 0" in report(VLLM_CPU_NUM_OF_RESERVED_CPU="-1")
