"""--attention-backend TORCH_SDPA: the path of GPUs, on the CPU or wherever the engine finds itself."""

import pytest

from support.greedy_case import GreedyCase
from vllm import SamplingParams

KINDS = ["llama_tied_bias", "mistral", "opt_350m_style", "qwen2_window", "qwen3"]


@pytest.fixture(scope="module", params=KINDS)
def case(request, tmp_path_factory) -> GreedyCase:
    folder = tmp_path_factory.mktemp(request.param)
    return GreedyCase(request.param, folder, count=8, num_tokens=32, attention_backend="TORCH_SDPA")


def test_chunks_and_prefixes_seen_before(case):
    """Steps of 24 tokens mix chunks of prompts of up to 90 with sequences that decode; then prompts come again."""
    llm = case.llm(max_num_batched_tokens=24, max_num_seqs=6)
    assert case.answers(llm) == case.expected
    assert case.answers(llm) == case.expected
    assert llm.llm_engine.stats().prefix_cache_hits > 0


def test_preemption(case):
    llm = case.llm(num_gpu_blocks_override=32, enable_prefix_caching=False)
    assert case.answers(llm) == case.expected
    assert llm.llm_engine.stats().num_preemptions > 0


SAMPLED = [
    {"temperature": 0.8, "seed": 1},
    {"temperature": 1.3, "seed": 2, "top_k": 12, "top_p": 0.9},
    {"temperature": 1.0, "seed": 3, "min_p": 0.05, "repetition_penalty": 1.3, "presence_penalty": 0.4},
    {"temperature": 0.0, "frequency_penalty": 1.1, "logit_bias": {17: 3.0, 40: -100.0}, "logprobs": 3},
    {"temperature": 0.7, "seed": 4, "allowed_token_ids": [5, 9, 11, 200], "prompt_logprobs": 2},
    {"temperature": 0.0, "bad_words": ["a"], "min_tokens": 10},
]


def test_sampling_parameters(tmp_path):
    """The same draws and log probabilities as on the CPU by this package's kernels, all in one batch."""
    case = GreedyCase("llama", tmp_path, count=len(SAMPLED), num_tokens=1)
    params = [SamplingParams(max_tokens=24, ignore_eos=True, **each) for each in SAMPLED]
    prompts = [{"prompt_token_ids": p} for p in case.prompts]
    plain, native = (
        case.llm(attention_backend=name).generate(prompts, params, use_tqdm=False)
        for name in ("TORCH_SDPA", "CPU_ATTN")
    )
    for ours, expected in zip(plain, native, strict=True):
        assert ours.outputs[0].token_ids == expected.outputs[0].token_ids
    numbers = [
        [
            entry.logprob
            for step in (o[3].outputs[0].logprobs, o[4].prompt_logprobs[1:])
            for e in step
            for entry in e.values()
        ]
        for o in (plain, native)
    ]
    assert len(numbers[0]) > 72
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-3)
