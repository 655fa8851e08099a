"""The engine on the device: transformers' greedy tokens, eager, replayed, by own kernels, asleep and awake again."""

import pytest
import torch
import torch.distributed as dist

from support.greedy_case import GreedyCase
from support.models import KINDS
from vllm import SamplingParams
from vllm.attention.registry import choose_backend
from vllm.distributed.group import ProcessGroup
from vllm.exceptions import VLLMValidationError
from vllm.platforms import current_platform
from vllm.worker.decode_graphs import _CudaCapture
from vllm.worker.kv_cache import block_bytes


@pytest.fixture(scope="module", params=sorted(KINDS))
def case(request, device, tmp_path_factory) -> GreedyCase:
    folder = tmp_path_factory.mktemp(request.param)
    limits = {"max_num_batched_tokens": 64, "kv_cache_memory_bytes": 64 << 20}
    return GreedyCase(request.param, folder, count=8, num_tokens=32, attention_backend="TORCH_SDPA", **limits)


def test_eager(case, device):
    llm = case.llm(enforce_eager=True)
    assert llm.llm_engine.config.device_config.device == device
    assert case.answers(llm) == case.expected
    assert case.answers(llm) == case.expected
    assert llm.llm_engine.stats().prefix_cache_hits > 0


def test_replayed(case, monkeypatch):
    monkeypatch.setenv("VLLM_DEVICE_KERNELS", "cuda_graphs")
    llm = case.llm(max_num_seqs=6)
    assert case.answers(llm) == case.expected
    assert len(llm.llm_engine._core._runner.steps.graphs) > 1


def test_preemption(case):
    llm = case.llm(num_gpu_blocks_override=32, enable_prefix_caching=False)
    assert case.answers(llm) == case.expected
    assert llm.llm_engine.stats().num_preemptions > 0


@pytest.mark.parametrize("kernels", ["rms_norm,fused_add_rms_norm,silu_and_mul", "paged_attention_varlen", "all"])
def test_own_kernels(case, kernels, monkeypatch):
    """In bf16, where tokens depend on rounding: the log probabilities of the same prompts, beside torch's ops."""
    numbers = []
    for chosen in ("", kernels):
        monkeypatch.setenv("VLLM_DEVICE_KERNELS", chosen)
        numbers.append(_logprobs(case))
    got, expected = numbers
    assert (got - expected).abs().mean() < 0.05 * expected.std()


def test_flash_attention(case, device):
    """What `attention_backend=None` is on NVIDIA's GPUs, in bf16, beside torch's other ops."""
    try:
        choose_backend("FLASH_ATTN", current_platform, "bfloat16", own_cache_dtype=False, block_size=None)
    except VLLMValidationError as refusal:
        pytest.skip(str(refusal))
    got, expected = (_logprobs(case, attention_backend=name, block_size=None) for name in ("FLASH_ATTN", "TORCH_SDPA"))
    assert got.isfinite().all()
    assert (got - expected).abs().mean() < 0.05 * expected.std()


@pytest.mark.parametrize(("cache", "bound"), [("fp8", 0.1), ("fp8_e5m2", 0.2), ("int8", 0.05)])
def test_8_bit_caches(case, cache, bound):
    got, expected = (_logprobs(case, kv_cache_dtype=c, block_size=16) for c in (cache, "auto"))
    assert (got - expected).abs().mean() < bound * expected.std()


def _logprobs(case: GreedyCase, **options) -> torch.Tensor:
    """Of all prompts' tokens but the first ones, in bf16."""
    params = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0)
    prompts = [{"prompt_token_ids": p} for p in case.prompts if len(p) > 1]
    outputs = case.llm(dtype="bfloat16", **options).generate(prompts, params, use_tqdm=False)
    return torch.tensor([next(iter(entry.values())).logprob for o in outputs for entry in o.prompt_logprobs[1:]])


@pytest.mark.parametrize("level", [1, 2])
def test_sleep(case, level, device):
    llm = case.llm(enable_sleep_mode=True)
    assert case.answers(llm) == case.expected
    before = torch.cuda.memory_allocated() if device == "cuda" else 0
    runner = llm.llm_engine._core._runner
    shapes = [attention.shape for attention in runner._model.attentions]
    cache = runner.num_blocks * block_bytes(shapes, case.block_size, runner._format)
    llm.sleep(level)
    if device == "cuda":
        assert before - torch.cuda.memory_allocated() >= cache
    llm.wake_up()
    assert case.answers(llm) == case.expected


def test_memory_stays_within_the_share_that_is_given(device, tmp_path):
    if device != "cuda":
        pytest.skip("the share is of a GPU's memory")
    case = GreedyCase("llama", tmp_path, count=2, num_tokens=4)
    llm = case.llm(gpu_memory_utilization=0.3, max_num_seqs=512, max_model_len=512, block_size=128)
    assert case.answers(llm) == case.expected
    free, total = torch.cuda.mem_get_info()
    assert total - free <= 0.32 * total


def test_exchanges_of_ranks(device):
    """NCCL wants a device for each rank; one rank does the same exchanges with itself, also where they are captured."""
    if device != "cuda":
        pytest.skip("NCCL is of GPUs")
    ranks = ProcessGroup(dist.HashStore(), 0, 1, device)
    x = torch.full((1000,), 3.0, device=device)
    ranks.all_reduce(x)
    replay = _CudaCapture()(lambda: (ranks.all_reduce(x), ranks.gather(x))[1])
    x.fill_(5.0)
    [gathered] = replay()
    assert (x == 5.0).all() and (gathered == 5.0).all()
    assert ranks.smallest(4) == 4


def test_two_ranks(case, device):
    if device != "cuda" or torch.cuda.device_count() < 2:
        pytest.skip("each rank needs a GPU, and here are not two")
    assert case.answers(case.llm(tensor_parallel_size=2)) == case.expected
