"""Greedy answers come from a screened head where nothing else of the logits is wanted, and are the same."""

import pytest
import torch

from support.models import mixed_prompts, save_model
from vllm import LLM, SamplingParams
from vllm.layers.screened_head import ScreenedHead
from vllm.profiling.model_parts import model_of

PROMPTS = [{"prompt_token_ids": prompt} for prompt in mixed_prompts(6, 60, seed=5)]
GREEDY = {"temperature": 0, "max_tokens": 24, "ignore_eos": True}


@pytest.fixture(scope="module", params=["llama", "opt"])
def folder(request, tmp_path_factory):
    return save_model(request.param, tmp_path_factory.mktemp(request.param))


def load(folder, **options):
    return LLM(str(folder), max_model_len=256, kv_cache_memory_bytes=16 << 20, **options)


@pytest.fixture
def screened(folder, monkeypatch):
    monkeypatch.setattr("vllm.layers.output_head.MIN_ELEMENTS", 1)
    return load(folder, dtype="bfloat16")


def answers(llm, **params):
    outputs = llm.generate(PROMPTS, SamplingParams(**GREEDY, **params), use_tqdm=False)
    return [output.outputs[0].token_ids for output in outputs]


def test_tokens_without_logits_are_those_of_the_logits(folder, screened, monkeypatch):
    expected = answers(load(folder, dtype="bfloat16"))
    model = model_of(screened.llm_engine)
    assert answers(screened, logprobs=1) == expected  # by the logits
    # Of so small a vocabulary a large share is computed, which is no reason to stop here.
    monkeypatch.setattr("vllm.layers.screened_head._POOR_CALLS", 1000)
    monkeypatch.setattr(type(model), "logits", lambda *_: pytest.fail("logits were computed"))
    assert answers(screened) == expected


def test_guessed_tokens_are_checked_by_the_screened_head(folder, screened, monkeypatch):
    monkeypatch.setattr("vllm.layers.output_head.MIN_ELEMENTS", 1)
    guessing = load(folder, dtype="bfloat16", speculative_config={"method": "ngram", "num_speculative_tokens": 3})
    assert answers(guessing) == answers(screened)


@pytest.mark.parametrize(
    "params", [{"repetition_penalty": 1.5}, {"logit_bias": {7: 100.0}}, {"min_tokens": 5}, {"bad_words": []}]
)
def test_what_changes_logits_gets_them(folder, screened, params):
    assert answers(screened, **params) == answers(load(folder, dtype="bfloat16"), **params)


def test_small_heads_and_codes_are_not_screened(folder, monkeypatch):
    assert model_of(load(folder, dtype="bfloat16").llm_engine)._head.screened is None
    monkeypatch.setattr("vllm.layers.output_head.MIN_ELEMENTS", 1)
    quantized = load(folder, dtype="bfloat16", quantization="int8")
    assert model_of(quantized.llm_engine)._head.screened is None


def test_a_screen_that_tells_nothing_is_given_up(screened):
    """All rows of the weight alike: every logit must be computed."""
    head = model_of(screened.llm_engine)._head
    alike = torch.ones(head.vocab_size, head.width, dtype=torch.bfloat16)
    head.packed = head.ops.pack_linear_weight(alike)
    head.screened = ScreenedHead(alike, head.packed)
    hidden = torch.randn(2, head.width).bfloat16()
    calls = 0
    while (tokens := head.greedy_tokens(hidden)) is not None:
        assert tokens.tolist() == [0, 0]
        calls += 1
    assert calls == 16
