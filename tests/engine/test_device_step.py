"""Steps on a device: inputs that are sent there, decode steps padded to few shapes, memory for the KV cache."""

import gc
import json
import os
import subprocess
import sys
import weakref

import pytest
import torch

from support.checkout import ROOT
from support.fake_device import NO_DEVICES
from support.greedy_case import GreedyCase
from support.models import KINDS, save_model
from vllm import LLM
from vllm.models.llama import LlamaForCausalLM
from vllm.platforms import PlatformEnum
from vllm.platforms.gpu import GpuPlatform
from vllm.profiling.model_parts import model_of
from vllm.worker import kv_cache
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


def test_torch_never_attends_by_cudnn(tmp_path, monkeypatch):
    """Its plans are made and kept for every new shape, of which each step has one."""
    allowed = []
    forward = LlamaForCausalLM.forward
    monkeypatch.setattr(
        LlamaForCausalLM, "forward", lambda *a: allowed.append(torch.backends.cuda.cudnn_sdp_enabled()) or forward(*a)
    )
    before = torch.backends.cuda.cudnn_sdp_enabled()
    GreedyCase("llama", tmp_path, count=1, num_tokens=2, attention_backend="TORCH_SDPA").llm().generate("a")
    assert allowed and not any(allowed)
    assert torch.backends.cuda.cudnn_sdp_enabled() == before


def test_captured_steps_go_before_the_model(tmp_path, monkeypatch):
    """NCCL's groups, which layers hold, cannot be closed while captured steps use them."""
    monkeypatch.setenv("VLLM_DEVICE_KERNELS", "cuda_graphs")
    llm = LLM(str(save_model("llama", tmp_path)), attention_backend="TORCH_SDPA", num_gpu_blocks_override=16)
    gone = []
    for part in (model_of(llm.llm_engine), llm.llm_engine._core._runner.steps.graphs):
        weakref.finalize(part, gone.append, type(part).__name__)
    del part, llm
    gc.collect()
    assert gone == ["DecodeGraphs", "LlamaForCausalLM"]


def test_where_a_model_runs_on_the_cpu_the_gpus_memory_does_not_count(tmp_path, monkeypatch):
    gpu = GpuPlatform(PlatformEnum.CUDA)
    monkeypatch.setattr(gpu, "free_memory", lambda: 0)
    monkeypatch.setattr(kv_cache, "current_platform", gpu)
    llm = LLM(str(save_model("llama", tmp_path)), attention_backend="CPU_ATTN", max_model_len=64)
    assert len(llm.generate("a")[0].outputs[0].token_ids) > 0
