"""Steps on a device: inputs that are sent there, decode steps padded to few shapes, memory for the KV cache."""

import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from support import fake_device
from support.greedy_case import GreedyCase
from support.models import KINDS, save_model
from vllm.attention.cache_format import CacheFormat
from vllm.engine.arg_utils import EngineArgs
from vllm.worker.decode_graphs import DecodeGraphs, doublings
from vllm.worker.memory_profile import MemoryUse, run_largest_steps
from vllm.worker.model_loader import load_model

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


class NoSampler:
    """Fake tensors hold no numbers to look at."""

    def rehearse(self, logits):
        self.logits = logits


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_forward_pass_stays_on_its_device_and_never_waits_for_it(kind, tmp_path):
    """Over fake tensors: an op that meets tensors of two devices, or reads a number of the device's, raises."""
    folder = str(save_model(kind, tmp_path))
    arguments = {"dtype": "bfloat16", "load_format": "dummy", "attention_backend": "TORCH_SDPA", "max_num_seqs": 4}
    config = EngineArgs(model=folder, max_num_batched_tokens=600, **arguments).create_engine_config()
    config.device_config.device = device = fake_device.register()
    sampler = NoSampler()
    with FakeTensorMode():
        model = load_model(config)
        run_largest_steps(model, sampler, config, CacheFormat.of("auto", torch.bfloat16))
        assert sampler.logits.device.type == device
        assert sampler.logits.shape == (4, model.vocab_size)
        assert model.attentions[0].binding == -1
        with pytest.raises(DynamicOutputShapeException):  # such as this would
            torch.empty(3, device=device).nonzero()


def test_memory_left_for_the_cache():
    use = MemoryUse(total=80 * GIB, others=2 * GIB, weights=15 * GIB, most=20 * GIB)
    assert use.left(0.9, with_graphs=False) == 50 * GIB
    assert use.left(0.9, with_graphs=True) == 45 * GIB
    assert use.left(0.25, with_graphs=False) == 0
