"""The solver picks the right build for a machine, and says why there is none."""

import asyncio

import pytest
from rattler import BuildString, GenericVirtualPackage, PackageName, Version
from rattler.exceptions import SolverError

from support.installed import channel_of, record
from tooling.installing.environments import solve


def machine(glibc: str = "2.36", **others: str) -> list[GenericVirtualPackage]:
    """Virtual packages of a Linux machine; a keyword adds one: cuda="13.0"."""
    versions = {"unix": "0", "linux": "6.1", "glibc": glibc} | others
    return [
        GenericVirtualPackage(PackageName(f"__{name}"), Version(version), BuildString("0"))
        for name, version in versions.items()
    ]


def solved(specs: list[str], virtual_packages: list[GenericVirtualPackage]) -> dict[str, str]:
    channels = list(dict.fromkeys([channel_of("vllm"), channel_of("python")]))
    records = asyncio.run(solve(channels, specs, virtual_packages))
    return {found.name.normalized: str(found.build) for found in records}


def test_a_machine_without_a_gpu_gets_the_cpu_build():
    assert solved(["vllm"], machine())["vllm"] == record("vllm")["build"]
    assert record("vllm")["build"].startswith("cpu_")


def test_a_lane_can_be_asked_for_by_name():
    assert solved(["vllm * cpu_*"], machine())["vllm"].startswith("cpu_")


def test_the_demo_model_comes_with_nothing_else_of_ours():
    names = solved(["vllm-demo-model"], machine())
    assert "vllm-demo-model" in names and "vllm" not in names


@pytest.mark.parametrize(
    ("specs", "virtual_packages", "named"),
    [
        (["vllm * cuda*"], machine(), "vllm"),
        (["vllm", "pytorch <2.10"], machine(), "pytorch"),
        (["vllm", "python <3.10"], machine(), "python"),
        (["vllm"], machine(glibc="2.5"), "__glibc"),
    ],
)
def test_an_impossible_wish_names_what_is_in_the_way(specs, virtual_packages, named):
    with pytest.raises(SolverError, match=named):
        solved(specs, virtual_packages)
