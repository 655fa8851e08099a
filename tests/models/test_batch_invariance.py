"""In bfloat16, where any change of summation order shows, answers must not depend on how they were computed."""

import pytest
import torch

from support.models import mixed_prompts, save_model
from vllm import LLM, SamplingParams

PROMPTS = mixed_prompts(12, 120, seed=3)
PARAMS = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True, logprobs=1)


def answers(folder, prompts, **arguments):
    """Token ids and the exact log probabilities of each answer."""
    llm = LLM(str(folder), dtype="bfloat16", **{"max_model_len": 256, "block_size": 16, **arguments})
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], PARAMS, use_tqdm=False)
    return [(o.outputs[0].token_ids, o.outputs[0].cumulative_logprob) for o in outputs]


@pytest.fixture(scope="module", params=["llama", "mistral", "qwen3", "opt"])
def folder(request, tmp_path_factory):
    return save_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def expected(folder):
    return answers(folder, PROMPTS)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_num_seqs": 1},
        {"max_num_batched_tokens": 24, "max_num_seqs": 6},
        {"enable_prefix_caching": False},
        {"num_gpu_blocks_override": 32},
        {"block_size": 64},
    ],
    ids=lambda arguments: ",".join(arguments),
)
def test_batching(folder, expected, arguments):
    assert answers(folder, PROMPTS, **arguments) == expected


def test_threads(folder, expected, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "kept")  # the engine leaves a number that the user chose
    try:
        torch.set_num_threads(1 if before > 1 else 2)
        assert answers(folder, PROMPTS) == expected
    finally:
        torch.set_num_threads(before)


def test_batch_chunks_prefixes_and_threads_at_once(folder, expected, monkeypatch):
    """Every way of computing an answer at once, against each prompt alone, in whole, uncached, on one thread."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "kept")
    try:
        torch.set_num_threads(1)
        alone = answers(folder, PROMPTS, max_num_seqs=1, enable_prefix_caching=False, max_num_batched_tokens=256)
        torch.set_num_threads(max(before, 2))
        # Twice: the second time all prompts are found in the cache as far as their full blocks reach.
        llm = LLM(str(folder), dtype="bfloat16", max_model_len=256, block_size=16, max_num_batched_tokens=24,
                  max_num_seqs=7)  # fmt: skip
        prompts = [{"prompt_token_ids": p} for p in PROMPTS]
        for hits in (False, True):
            outputs = llm.generate(prompts, PARAMS, use_tqdm=False)
            assert any(o.num_cached_tokens for o in outputs) == hits
            assert [(o.outputs[0].token_ids, o.outputs[0].cumulative_logprob) for o in outputs] == alone
        assert alone == expected
    finally:
        torch.set_num_threads(before)
