"""Schemas in the sources of bindings: those of the CPU and of devices end up in one library."""

import re
from collections import Counter

from support.checkout import ROOT

LIBRARY = re.compile(r"(?:STABLE_TORCH_LIBRARY_FRAGMENT|VLLM_DEVICE_SCHEMAS)\((\w+), m\)(.*?)\n}", re.DOTALL)
IMPLEMENTATIONS = re.compile(r"VLLM_DEVICE_KERNELS\((\w+), m\)\s*{(.*?)}\n", re.DOTALL)


def texts() -> list[str]:
    return [
        file.read_text() for folder in ("bindings", "moe") for file in sorted((ROOT / "csrc" / folder).rglob("*.cpp"))
    ]


def defined() -> Counter[str]:
    return Counter(
        f"{namespace}::{name}"
        for text in texts()
        for namespace, body in LIBRARY.findall(text)
        for name in re.findall(r'm\.def\(\s*"(\w+)\(', body)
    )


def test_no_op_is_defined_twice():
    assert [name for name, count in defined().items() if count > 1] == []


def test_every_device_kernel_has_a_schema():
    kernels = {
        f"{namespace}::{name}"
        for text in texts()
        for namespace, body in IMPLEMENTATIONS.findall(text)
        for name in re.findall(r'm\.impl\("(\w+)"', body)
    }
    assert len(kernels) > 40
    assert kernels <= set(defined())
