"""Steps on a device: inputs that are sent there, decode steps padded to few shapes, memory for the KV cache."""

import json
import os
import subprocess
import sys

import pytest

from support.checkout import ROOT
from support.fake_device import NO_DEVICES
from support.greedy_case import GreedyCase
from support.models import KINDS, save_model
from vllm.worker.decode_graphs import DecodeGraphs, doublings
from vllm.worker.memory_profile import MemoryUse

GIB = 2**30


@pytest.mark.parametrize("kind", ["llama", "opt"])
def test_padded_decode_steps_give_the_same_tokens(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_DEVICE_KERNELS", "cuda_graphs")
    case = GreedyCase(kind, tmp_path, count=8, num_tokens=40, attention_backend="TORCH_SDPA")
    ran = []
    run = DecodeGraphs.run
    monkeypatch.setattr(DecodeGraphs, "run", lambda self, shape, f: ran.append((shape, self)) or run(self, shape, f))
    assert case.answers(case.llm(max_num_seqs=5, max_num_batched_tokens=64)) == case.expected
    # Five sequences decode, then three, padded to four; blocks of 8: 16, and 32 for what passes 128 tokens.
    shapes = {shape for shape, _ in ran}
    assert shapes <= {(rows, width) for rows in (1, 2, 4, 5) for width in (16, 32)}
    assert {4, 5} <= {rows for rows, _ in shapes}
    assert len(ran[0][1]) == len(shapes) < len(ran)
    ran.clear()
    assert case.answers(case.llm(enforce_eager=True)) == case.expected
    assert ran == []


def test_doublings():
    assert doublings(1, 1) == [1]
    assert doublings(1, 12) == [1, 2, 4, 8, 12]
    assert doublings(16, 5) == [5]
    assert doublings(16, 64) == [16, 32, 64]


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """What support/fake_device.py found, by kind of model."""
    folders = {kind: str(save_model(kind, tmp_path_factory.mktemp(kind))) for kind in sorted(KINDS)}
    path = os.pathsep.join(filter(None, [str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "support.fake_device", *folders.values()]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    if done.returncode == NO_DEVICES:
        pytest.skip("this torch has no devices made in Python (backend_registration): fake tensors need one")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {kind: found[folder] for kind, folder in folders.items()}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_forward_pass_stays_on_its_device_and_never_waits_for_it(kind, problems):
    assert problems[kind] is None, problems[kind]


def test_memory_left_for_the_cache():
    use = MemoryUse(total=80 * GIB, others=2 * GIB, weights=15 * GIB, most=20 * GIB)
    assert use.left(0.9, with_graphs=False) == 50 * GIB
    assert use.left(0.9, with_graphs=True) == 45 * GIB
    assert use.left(0.25, with_graphs=False) == 0
