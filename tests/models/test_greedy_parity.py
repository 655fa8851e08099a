"""Greedy tokens must be transformers' own, however requests are batched, chunked, cached or preempted."""

from pathlib import Path

import pytest

from support.models import KINDS, mixed_prompts, reference_greedy, save_model
from vllm import LLM, SamplingParams

NUM_TOKENS = 64
GREEDY = SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)


class Case:
    """A saved model, prompts, and what transformers answers."""

    def __init__(self, kind: str, folder: Path):
        self.folder = save_model(kind, folder)
        self.prompts = mixed_prompts(16)
        self.expected = reference_greedy(self.folder, self.prompts, NUM_TOKENS)

    def llm(self, **arguments) -> LLM:
        return LLM(str(self.folder), dtype="float32", **{"max_model_len": 256, "block_size": 8, **arguments})

    def answers(self, llm: LLM, prompts: list[list[int]]) -> list[list[int]]:
        outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], GREEDY, use_tqdm=False)
        return [list(o.outputs[0].token_ids) for o in outputs]


@pytest.fixture(scope="module", params=sorted(KINDS))
def case(request, tmp_path_factory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp(request.param))


def test_batch_of_16(case):
    assert case.answers(case.llm(), case.prompts) == case.expected


def test_alone(case):
    llm = case.llm(max_num_seqs=1)
    picked = [0, 5, 11]
    assert case.answers(llm, [case.prompts[i] for i in picked]) == [case.expected[i] for i in picked]


@pytest.mark.parametrize("caching", [True, False])
def test_prefixes_seen_before(case, caching):
    llm = case.llm(enable_prefix_caching=caching)
    case.answers(llm, case.prompts)
    assert case.answers(llm, case.prompts) == case.expected
    assert (llm.get_metrics().prefix_cache_hits > 0) == caching


def test_preemption(case):
    """Room for about three of the sixteen sequences."""
    llm = case.llm(num_gpu_blocks_override=48, enable_prefix_caching=False)
    assert case.answers(llm, case.prompts) == case.expected
    assert llm.get_metrics().num_preemptions > 0


def test_preemption_with_prefix_cache(case):
    llm = case.llm(num_gpu_blocks_override=48)
    assert case.answers(llm, case.prompts) == case.expected


def test_chunked_prefill(case):
    """Prompts of up to 90 tokens through steps of 16."""
    llm = case.llm(max_num_batched_tokens=16, max_num_seqs=8)
    assert case.answers(llm, case.prompts) == case.expected
