"""Which lane the solver picks for a machine, from what every lane renders to; and how a wrong wish is refused."""

import asyncio

import pytest
from rattler.exceptions import SolverError

from support.checkout import ROOT
from support.machines import PYTHONS, Machine, write_channel
from tooling.failures import solver_reason
from tooling.installing.environments import solve


@pytest.fixture(scope="module")
def channel(tmp_path_factory) -> str:
    return write_channel(tmp_path_factory.mktemp("channel"), ROOT)


def chosen(channel: str, machine: Machine, *specs: str) -> str:
    """The lane of the vllm that is installed by `specs`: the start of its build string."""
    platforms = [machine.platform, "noarch"]
    records = asyncio.run(solve([channel], list(specs or ["vllm"]), machine.virtual_packages(), platforms))
    (build,) = [str(record.build) for record in records if record.name.normalized == "vllm"]
    return build.partition("_h")[0]


def driver(version: str, **others) -> Machine:
    return Machine(others={"cuda": version}, **others)


MACHINES = {
    "no GPU": (Machine(), "cpu"),
    "no GPU, AVX2 only": (Machine(archspec="haswell"), "cpu"),
    "no GPU, SSE only": (Machine(archspec="nehalem"), "cpu"),
    "no GPU, AVX-512": (Machine(archspec="skylake_avx512"), "cpu"),
    "glibc 2.17": (Machine(glibc="2.17"), "cpu"),
    "glibc 2.28": (Machine(glibc="2.28"), "cpu"),
    "driver 11.8": (driver("11.8"), "cpu"),
    "driver 12.9": (driver("12.9"), "cuda129"),
    "driver 13.0": (driver("13.0"), "cuda130"),
    "driver 13.1": (driver("13.1"), "cuda130"),
    "driver 13.2": (driver("13.2"), "cuda132"),
    "driver 14.0": (driver("14.0"), "cuda132"),
    "driver 13.2, glibc 2.28": (driver("13.2", glibc="2.28"), "cuda132"),
    "driver 13.2, glibc 2.17": (driver("13.2", glibc="2.17"), "cuda129"),
    "driver 12.9, AVX2 only": (driver("12.9", archspec="haswell"), "cuda129"),
    "ROCm": (Machine(others={"amdgpu": "7.2"}), "cpu"),
    "aarch64": (Machine("linux-aarch64"), "cpu"),
    "aarch64 sbsa, driver 12.9": (driver("12.9", platform="linux-aarch64"), "cuda129"),
    "aarch64 sbsa, driver 13.2": (driver("13.2", platform="linux-aarch64"), "cuda132"),
    "ppc64le": (Machine("linux-ppc64le"), "cpu"),
    "s390x": (Machine("linux-s390x"), "cpu"),
    "macOS arm64": (Machine("osx-arm64", others={"osx": "14.5"}), "cpu"),
    "Windows": (Machine("win-64"), "empty"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_gets_its_lane(channel, name):
    machine, lane = MACHINES[name]
    assert chosen(channel, machine) == lane


@pytest.mark.parametrize("python", PYTHONS[1:])
@pytest.mark.parametrize("name", ["no GPU", "driver 12.9", "driver 13.2", "aarch64", "macOS arm64", "s390x"])
def test_every_python_gets_the_same_lane(channel, name, python):
    machine, lane = MACHINES[name]
    assert chosen(channel, machine, "vllm", f"python {python}.*") == lane


BY_NAME = {
    "cpu_v3": Machine(archspec="haswell"),
    "cpu_v4": Machine(archspec="skylake_avx512"),
    "rocm72": Machine(),
    "xpu": Machine(),
    "tpu": Machine(),
    "empty": Machine(),
}


@pytest.mark.parametrize("lane", BY_NAME)
def test_other_lanes_are_there_for_those_who_name_them(channel, lane):
    assert chosen(channel, BY_NAME[lane], f"vllm * {lane}_*") == lane


def test_the_cpu_build_can_be_named_on_a_machine_with_a_gpu(channel):
    assert chosen(channel, driver("13.2"), "vllm * cpu_h*") == "cpu"


def test_an_older_cuda_can_be_named(channel):
    assert chosen(channel, driver("13.2"), "vllm", "cuda-version 12.*") == "cuda129"


@pytest.mark.parametrize("lane", BY_NAME)
def test_a_newer_version_of_a_lane_taken_by_name_is_not_taken_without(tmp_path, lane):
    """A release reaches the channel lane by lane."""
    channel = write_channel(tmp_path / "channel", ROOT, newer=lane)
    assert chosen(channel, BY_NAME[lane]) == "cpu"


REFUSED = {
    "CUDA without a driver": (Machine(), ["vllm * cuda*"], "__cuda"),
    "a newer CUDA than the driver": (driver("13.0"), ["vllm * cuda132*"], "__cuda"),
    "CUDA 13 on an old C library": (driver("13.2", glibc="2.17"), ["vllm * cuda13*"], "__glibc"),
    "AVX-512 on a CPU without": (Machine(archspec="haswell"), ["vllm * cpu_v4*"], "_x86_64-microarch-level"),
    "AVX2 on a CPU without": (Machine(archspec="nehalem"), ["vllm * cpu_v3*"], "_x86_64-microarch-level"),
    "ROCm on Arm": (Machine("linux-aarch64"), ["vllm * rocm*"], "rocm"),
    "CUDA on macOS": (Machine("osx-arm64", others={"osx": "14.5"}), ["vllm * cuda*"], "cuda"),
    "an old macOS": (Machine("osx-arm64", others={"osx": "10.15"}), ["vllm * cpu*"], "__osx"),
    "an old C library": (Machine(glibc="2.12"), ["vllm"], "__glibc"),
    "an old torch": (Machine(), ["vllm", "pytorch <2.10"], "pytorch"),
    "an old torch beside a GPU": (driver("13.2"), ["vllm", "pytorch <2.10"], "pytorch"),
    "an old Python": (Machine(), ["vllm", "python 3.9.*"], "python"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_wish_is_refused_and_says_what_is_in_the_way(channel, name):
    """Never a build without kernels instead."""
    machine, specs, named = REFUSED[name]
    with pytest.raises(SolverError) as refused:
        chosen(channel, machine, *specs)
    reason = solver_reason(refused.value)
    assert named in reason and "\n" not in reason
