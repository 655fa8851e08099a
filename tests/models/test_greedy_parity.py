"""Greedy tokens must be transformers' own, however requests are batched, chunked, cached or preempted."""

import pytest

from support.greedy_case import GreedyCase
from support.models import KINDS


@pytest.fixture(scope="module", params=sorted(KINDS))
def case(request, tmp_path_factory) -> GreedyCase:
    return GreedyCase(request.param, tmp_path_factory.mktemp(request.param))


def test_batch_of_16(case):
    assert case.answers(case.llm()) == case.expected


def test_alone(case):
    llm = case.llm(max_num_seqs=1)
    picked = [0, 5, 11]
    assert case.answers(llm, [case.prompts[i] for i in picked]) == [case.expected[i] for i in picked]


@pytest.mark.parametrize("caching", [True, False])
def test_prefixes_seen_before(case, caching):
    llm = case.llm(enable_prefix_caching=caching)
    case.answers(llm)
    assert case.answers(llm) == case.expected
    assert (llm.llm_engine.stats().prefix_cache_hits > 0) == caching


def test_preemption(case):
    """Room for about three of the sixteen sequences."""
    llm = case.llm(num_gpu_blocks_override=48, enable_prefix_caching=False)
    assert case.answers(llm) == case.expected
    assert llm.llm_engine.stats().num_preemptions > 0


def test_preemption_with_prefix_cache(case):
    llm = case.llm(num_gpu_blocks_override=48)
    assert case.answers(llm) == case.expected


def test_chunked_prefill(case):
    """Prompts of up to 90 tokens through steps of 16."""
    llm = case.llm(max_num_batched_tokens=16, max_num_seqs=8)
    assert case.answers(llm) == case.expected
