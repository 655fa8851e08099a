"""What needs a GPU: python -m pytest tests/gpu --write-proof

Every test runs on the GPU that the engine finds, and skips where there is none; VLLM_GPU_TESTS_DEVICE=cpu runs the
same tests on the CPU, to try the tests. `--write-proof` puts what was compared into docs/gpu.md, a row an op.
"""

import os

import pytest
import torch

from support import gpu_proof
from support.models import current_platform


def pytest_addoption(parser):
    parser.addoption("--write-proof", action="store_true", help="write the rows of docs/gpu.md")


@pytest.fixture(scope="session")
def device() -> str:
    chosen = os.environ.get("VLLM_GPU_TESTS_DEVICE") or current_platform.device_type
    if chosen == "cpu" and "VLLM_GPU_TESTS_DEVICE" not in os.environ:
        pytest.skip("there is no GPU that the installed torch can use (vllm.platforms.gpu looks for one)")
    return chosen


@pytest.fixture(scope="session")
def table(device, request):
    """The rows of this run."""
    name = torch.cuda.get_device_name() if device == "cuda" else current_platform.device_name()
    rows = gpu_proof.Proof(name)
    yield rows
    if request.config.getoption("--write-proof", default=False):
        rows.write()


@pytest.fixture(scope="session")
def proof(table):
    """Call it as proof(op, actual, expected, tolerance): compares, and keeps the largest error."""
    return table.compare
