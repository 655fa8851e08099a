"""Drafts by prompt lookup: what is proposed, and that answers are exactly those without."""

import pytest

from support.models import mixed_prompts, save_model
from vllm import LLM, EngineArgs, SamplingParams
from vllm.config import SpeculativeConfig
from vllm.exceptions import VLLMValidationError
from vllm.scheduler.prompt_lookup import PromptLookup

CONFIG = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 2}


def draft(tokens, most=9, **changes):
    return PromptLookup(SpeculativeConfig(**{**CONFIG, **changes})).draft(tokens, most)


def test_what_followed_before():
    assert draft([1, 2, 3, 4, 5, 6, 1, 2]) == [3, 4, 5, 6]
    assert draft([1, 2, 3, 4, 5, 6, 1, 2], most=2) == [3, 4]
    assert draft([1, 2, 3, 1, 2, 4, 1, 2]) == [4, 1, 2]  # the last time counts
    assert draft([9, 1, 2, 3, 8, 1, 2, 4, 9, 1, 2]) == [3, 8, 1, 2]  # the longest n-gram first
    assert draft([7, 7, 7]) == [7]
    assert draft([1, 2, 3, 2]) == [] == draft([5]) == draft([1, 1], prompt_lookup_min=2)
    assert draft([1, 2, 3, 2], prompt_lookup_min=1) == [3, 2]


def test_index_grows_with_the_sequence():
    lookup, tokens = PromptLookup(SpeculativeConfig(**CONFIG)), [3, 1, 4, 1, 5, 3, 1]
    for token in [4, 1, 5, 9, 3, 1, 4, 1]:
        assert lookup.draft(tokens, 4) == draft(tokens, 4)
        tokens.append(token)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model("llama", tmp_path_factory.mktemp("model"))


def answers(folder, params, **arguments):
    llm = LLM(str(folder), dtype="bfloat16", max_model_len=256, block_size=16, **arguments)
    prompts = [{"prompt_token_ids": p + [5, 6, 7, 8] * 6} for p in mixed_prompts(6, 40, seed=4)]
    outputs = llm.generate(prompts, params, use_tqdm=False)
    return [o.outputs[0].token_ids for o in outputs], llm.llm_engine.stats()


@pytest.mark.parametrize(
    "arguments", [{}, {"num_gpu_blocks_override": 24}, {"max_num_batched_tokens": 16, "max_num_seqs": 4}]
)
def test_greedy_answers_are_the_same(folder, arguments):
    params = SamplingParams(temperature=0, max_tokens=80, ignore_eos=True, detokenize=False)
    expected, plain = answers(folder, params, **arguments)
    found, stats = answers(folder, params, speculative_config=CONFIG, **arguments)
    assert found == expected
    assert plain.num_drafts == 0 < stats.num_accepted_tokens <= stats.num_draft_tokens <= 4 * stats.num_drafts
    assert stats.num_steps < plain.num_steps
    accepted = stats.num_accepted_at
    assert sum(accepted) == stats.num_accepted_tokens and accepted == sorted(accepted, reverse=True)


def test_logprobs_are_those_of_the_kept_tokens(folder):
    params = SamplingParams(
        temperature=0, max_tokens=60, ignore_eos=True, detokenize=False, logprobs=2, prompt_logprobs=0
    )
    entries = []
    for arguments in ({}, {"speculative_config": CONFIG}):
        llm = LLM(str(folder), dtype="float32", max_model_len=256, block_size=16, **arguments)
        outputs = llm.generate([{"prompt_token_ids": [9, 5, 6, 7, 8] * 6}, [5, 6, 7]], params, use_tqdm=False)
        entries.append([entry for output in outputs for entry in output.outputs[0].logprobs])
    assert llm.llm_engine.stats().num_accepted_tokens > 0
    for plain, drafted in zip(*entries, strict=True):
        assert list(plain) == list(drafted)
        assert [each.logprob for each in drafted.values()] == pytest.approx([p.logprob for p in plain.values()])


def test_stop_token_within_a_draft(folder):
    free, _ = answers(folder, SamplingParams(temperature=0, max_tokens=60, ignore_eos=True, detokenize=False))
    params = SamplingParams(temperature=0, max_tokens=60, stop_token_ids=[free[0][30]], detokenize=False)
    assert answers(folder, params, speculative_config=CONFIG)[0] == answers(folder, params)[0]


def test_requests_that_draw_get_no_drafts(folder):
    params = SamplingParams(temperature=1.0, seed=3, max_tokens=20, ignore_eos=True, detokenize=False)
    found, stats = answers(folder, params, speculative_config=CONFIG)
    assert found == answers(folder, params)[0] and stats.num_drafts == 0


def test_short_form(folder):
    arguments = EngineArgs(str(folder), speculative_config={"model": "ngram", "num_speculative_tokens": 2})
    config = arguments.create_engine_config().speculative_config
    assert (config.method, config.num_speculative_tokens) == ("ngram", 2)


@pytest.mark.parametrize(("given", "found"), [({"max": 1}, (1, 1)), ({"min": 7}, (7, 7)), ({"max": 9}, (2, 9))])
def test_one_length_given(folder, given, found):
    given = {f"prompt_lookup_{name}": length for name, length in given.items()}
    arguments = EngineArgs(str(folder), speculative_config={"method": "ngram", **given})
    config = arguments.create_engine_config().speculative_config
    assert (config.prompt_lookup_min, config.prompt_lookup_max) == found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "eagle"}, 'give {"method": "ngram", "num_speculative_tokens": 4}'),
        ({"method": "ngram", "model": "x"}, "other methods are not offered"),
        ({"method": "ngram", "num_speculative_tokens": 0}, "num_speculative_tokens=0 is not accepted"),
        (
            {"method": "ngram", "prompt_lookup_min": 5, "prompt_lookup_max": 4},
            "prompt_lookup_min=5 .* at most prompt_lookup_max, which is 4",
        ),
    ],
)
def test_refusals(folder, given, message):
    with pytest.raises(VLLMValidationError, match=message):
        EngineArgs(str(folder), speculative_config=given).create_engine_config()
