"""--attention-backend TORCH_SDPA: the path of GPUs, on the CPU or wherever the engine finds itself."""

import pytest

from support.greedy_case import GreedyCase

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
    assert llm.get_metrics().prefix_cache_hits > 0


def test_preemption(case):
    llm = case.llm(num_gpu_blocks_override=32, enable_prefix_caching=False)
    assert case.answers(llm) == case.expected
    assert llm.get_metrics().num_preemptions > 0
