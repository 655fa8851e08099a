"""Every test of this folder runs its kernels with waves of 32 and of 64 lanes, the threads of a block in two orders.

Or, as tests/gpu/test_kernels.py asks for, once on the device that VLLM_DEVICE_TESTS names, and with a report, a JSON
file, at VLLM_DEVICE_REPORT.
"""

import os
from pathlib import Path

import pytest

from support import device_emulator, device_ops

WAVES = [(32, "reverse"), (64, "shuffled")] if device_ops.DEVICE is None else [(32, "reverse")]


@pytest.fixture(params=WAVES, ids=lambda p: f"wave{p[0]}-{p[1]}", autouse=True)
def device(request):
    if device_ops.EMULATED:
        device_emulator.configure(*request.param)


@pytest.fixture(scope="session")
def report():
    made = device_ops.Report()
    yield made
    if path := os.environ.get("VLLM_DEVICE_REPORT"):
        made.write(Path(path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    made = yield
    if made.when == "call":
        item.passed = made.passed
    return made


@pytest.fixture(autouse=True)
def recorded(request, report):
    with report.test() as passed:
        yield
        if getattr(request.node, "passed", False):
            passed()
