"""The GPU kernels are there for every architecture that the lane lists, and for no other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tooling.package_checks import cuda_fatbin, hip_bundle
from tooling.package_checks.package import Package
from tooling.package_checks.registry import check

PACKAGE = "vllm"
"""The package whose kernels cover every architecture; its companions serve only some of them."""


@check("gpu", "holds device code for the architectures that its lane lists, and for no other")
def find(package: Package) -> Iterator[str]:
    """Architectures listed without code, and code for architectures that are not listed."""
    device = package.variant.get("vllm_target_device", "")
    cuda = set().union(*(cuda_fatbin.architectures(library) for library in package.libraries))
    hip = set().union(*(hip_bundle.architectures(library) for library in package.libraries))
    yield from _compare(package, "CUDA", cuda, _cuda_listed(package) if device == "cuda" else None)
    yield from _compare(package, "ROCm", hip, _listed(package, "vllm_rocm_archs") if device == "rocm" else None)


def _compare(package: Package, device: str, found: set[str], listed: set[str] | None) -> Iterator[str]:
    if listed is None:
        if found:
            yield f"holds {device} code ({', '.join(sorted(found))}) in a package for another device"
        return
    if not listed:
        yield f"the variant lists no {device} architectures"
        return
    if not found and package.libraries:
        yield f"holds no {device} code"
        return
    if package.name == PACKAGE and listed - found:
        yield f"no {device} code for {', '.join(sorted(listed - found, key=_order))}"
    if found - listed:
        yield f"{device} code for {', '.join(sorted(found - listed, key=_order))}, which the lane does not list"


def _listed(package: Package, key: str) -> set[str]:
    return set(str(package.variant.get(key, "")).replace(";", " ").split())


def _cuda_listed(package: Package) -> set[str]:
    """The lane's list as `cuda_fatbin` names architectures; +PTX adds the entry of its PTX."""
    listed = set()
    for entry in _listed(package, "vllm_cuda_archs"):
        architecture, _, with_ptx = entry.partition("+")
        listed |= {architecture, f"{architecture}+PTX"} if with_ptx else {architecture}
    return listed


def _order(architecture: str) -> tuple:
    return ([int(number) for number in re.findall(r"\d+", architecture)], architecture)
