"""benchmarks/gpu_kernels.py without a GPU: its rows call every op with what it takes; it says why it does not run."""

import os
import subprocess
import sys

import pytest
import torch

from support.checkout import ROOT
from support.device_ops import Ops

SCRIPT = ROOT / "benchmarks" / "gpu_kernels.py"


@pytest.fixture
def families(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import gpu_kernel_rows

    bench = gpu_kernel_rows.Bench("cpu", gpu_kernel_rows.SMALL, Ops)
    torch.manual_seed(0)
    return {family.__name__: family(bench) for family in gpu_kernel_rows.FAMILIES}


NAMES = {
    "norms_and_activations": 6,
    "quantisers": 5,
    "rotation_and_cache": 3,
    "attention": 3,
    "codes_of_few_bits": 3,
    "scaled_products": 3,
    "sampling_and_routing": 2,
}


def test_no_family_is_left_out(families):
    assert set(families) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_rows_run(families, name):
    rows = list(families[name])
    assert len(rows) == NAMES[name]
    for row in rows:
        row.ours()
        if row.torch is not None:
            row.torch()
        assert row.bytes_moved > 0 and row.flashinfer is None


def test_where_there_is_no_gpu_it_says_so():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    # As scripts/run starts a script: with its own folder on the path.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr == "there is no GPU that the installed torch can use: run this where nvidia-smi lists one\n"
