"""pytest plugin `-p cross.plugin`: tests call kernels of a library built for another CPU, which is emulated.

VLLM_CROSS_RUNNER holds the runner's command line as JSON, VLLM_CROSS_ISA the instruction set that it must choose.
torch gets the library's ops under their own names, each implemented by a call to the runner, so that the tests of
tests/kernels run as they are.
"""

from __future__ import annotations

import functools
import json
import os

import pytest
import torch
from hypothesis import settings

import vllm.kernels
from cross.client import CallTooLarge, Runner

NATIVE_ONLY = {
    "test_isa.py": "starts processes with this machine's own library",
    "test_library.py": "reads this machine's own library",
    "test_recording.py": "recordings hold addresses in this process, and the kernels run in another",
}
KEYS = ("CPU", "CompositeExplicitAutograd")
# An emulated kernel takes some 20 times as long.
settings.register_profile("emulated", deadline=None, derandomize=True, max_examples=12)

_libraries: list[torch.library.Library] = []  # their ops live as long as they do


@functools.cache
def load() -> Runner:
    """Stands in for vllm.kernels.load: starts the runner and registers what its library registered."""
    runner = Runner(json.loads(os.environ["VLLM_CROSS_RUNNER"]))
    libraries = {}
    for schema in runner.schemas:
        namespace, _, rest = schema.partition("::")
        if namespace not in libraries:
            libraries[namespace] = torch.library.Library(namespace, "FRAGMENT")
        libraries[namespace].define(rest)
    for op, key in runner.implementations:
        if key in KEYS:
            namespace, _, name = op.partition("::")
            libraries[namespace].impl(name, functools.partial(_call, runner, op), key)
    _libraries.extend(libraries.values())
    isa, expected = torch.ops._C.cpu_isa.default(), os.environ.get("VLLM_CROSS_ISA")
    if expected and isa != expected:
        raise pytest.UsageError(f"the library chose {isa} on this CPU, expected {expected}")
    return runner


def _call(runner: Runner, op: str, *arguments: object) -> object:
    try:
        return runner.call(op, arguments)
    except CallTooLarge as error:
        pytest.skip(str(error))


def pytest_configure(config: pytest.Config) -> None:
    vllm.kernels.load = load
    load()
    if config.getoption("hypothesis_profile", None) is None:
        settings.load_profile("emulated")


def pytest_report_header() -> str:
    return f"kernels: {torch.ops._C.cpu_isa.default()}, by {os.environ['VLLM_CROSS_RUNNER']}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = NATIVE_ONLY.get(item.path.name)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
