"""Scheduling without a model: a fake worker samples a known token for every sequence that is complete."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vllm import SamplingParams
from vllm.config import SchedulerConfig, SpeculativeConfig
from vllm.exceptions import PromptTooLongError, VLLMValidationError
from vllm.kvcache.manager import KVCacheManager
from vllm.messages import EngineRequest
from vllm.scheduler.output import StepResult
from vllm.scheduler.scheduler import Scheduler

BLOCK = 4
EOS = 2


def make(num_blocks=64, max_model_len=128, caching=True, speculative=None, **limits):
    config = SchedulerConfig(**{"max_num_seqs": 8, "max_num_batched_tokens": 32, **limits})
    kv_cache = KVCacheManager(num_blocks, BLOCK, caching)
    return Scheduler(config, kv_cache, max_model_len, speculative), kv_cache


def request(name, prompt, max_tokens=4, priority=0, **params):
    sampling = SamplingParams(max_tokens=max_tokens, **params)
    return EngineRequest(name, prompt, sampling, [EOS], arrival_time=0.0, priority=priority)


def run_step(scheduler, token=7):
    """One step; every sequence that has its tokens computed samples `token`."""
    step = scheduler.schedule()
    complete = [
        r.num_computed_tokens + n == r.num_tokens for r, n in zip(step.requests, step.num_new_tokens, strict=True)
    ]
    outputs = scheduler.update(step, StepResult(sampled=[[token] if done else [] for done in complete]))
    return step, outputs


def finish(scheduler, steps=500):
    """All outputs by request; fails where the scheduler does not get done."""
    tokens: dict[str, list[int]] = {}
    reasons: dict[str, str] = {}
    for _ in range(steps):
        if not scheduler.has_unfinished():
            return tokens, reasons
        for output in run_step(scheduler)[1]:
            tokens.setdefault(output.request_id, []).extend(output.new_token_ids)
            if output.finish_reason:
                reasons[output.request_id] = output.finish_reason
    raise AssertionError("requests are stuck")


def test_prompt_is_split_by_the_token_budget():
    scheduler, _ = make(max_num_batched_tokens=10)
    scheduler.add_request(request("a", list(range(3, 28))))
    chunks = [run_step(scheduler)[0].num_new_tokens for _ in range(4)]
    assert chunks == [[10], [10], [5], [1]]


def test_without_chunked_prefill_a_prompt_waits_for_a_whole_step():
    scheduler, _ = make(max_num_batched_tokens=10, enable_chunked_prefill=False)
    scheduler.add_request(request("a", [5] * 6))
    scheduler.add_request(request("b", [6] * 6))
    assert [r.request_id for r in run_step(scheduler)[0].requests] == ["a"]
    assert [r.request_id for r in run_step(scheduler)[0].requests] == ["a", "b"]


def test_decode_and_prefill_share_a_step():
    scheduler, _ = make()
    scheduler.add_request(request("a", [5] * 6))
    run_step(scheduler)
    scheduler.add_request(request("b", [6] * 9))
    assert run_step(scheduler)[0].num_new_tokens == [1, 9]


def test_max_num_seqs():
    scheduler, _ = make(max_num_seqs=2)
    for name in "abc":
        scheduler.add_request(request(name, [5] * 3, max_tokens=2))
    assert len(run_step(scheduler)[0].requests) == 2
    assert scheduler.stats().num_waiting == 1
    assert set(finish(scheduler)[1]) == {"a", "b", "c"}


def test_cached_prefix_is_not_computed_but_the_last_token_is():
    scheduler, _ = make()
    prompt = list(range(10, 18))  # exactly two blocks
    scheduler.add_request(request("a", prompt))
    finish(scheduler)
    scheduler.add_request(request("b", prompt))
    step, outputs = run_step(scheduler)
    assert step.num_new_tokens == [4]
    assert outputs[0].num_cached_tokens == 4


def test_equal_prompts_of_one_step_are_computed_once():
    scheduler, _ = make()
    for name in "abc":
        scheduler.add_request(request(name, list(range(10, 20))))
    assert run_step(scheduler)[0].num_new_tokens == [10, 2, 2]


def test_prompt_logprobs_compute_every_prompt_token():
    scheduler, _ = make()
    scheduler.add_request(request("a", [5] * 10))
    scheduler.add_request(request("b", [5] * 10, prompt_logprobs=1))
    assert run_step(scheduler)[0].num_new_tokens == [10, 10]


def test_preemption_takes_the_latest_and_loses_nothing():
    scheduler, kv_cache = make(num_blocks=8, caching=False)
    for name in "abc":
        scheduler.add_request(request(name, [5] * 7, max_tokens=12))
    outputs = []
    while scheduler.has_unfinished():
        outputs += run_step(scheduler)[1]
    reasons = {output.request_id: output.finish_reason for output in outputs}
    tokens = {name: [t for o in outputs if o.request_id == name for t in o.new_token_ids] for name in "abc"}
    set_back = {output.request_id: output.num_preemptions for output in outputs}
    assert set_back["a"] == 0 and sum(set_back.values()) == scheduler.stats().num_preemptions > 0
    assert {name: len(t) for name, t in tokens.items()} == {"a": 12, "b": 12, "c": 12}
    assert set(reasons.values()) == {"length"}
    assert kv_cache.pool.num_free == 8


def test_what_a_failed_step_was_to_compute_is_found_by_nobody():
    scheduler, kv_cache = make()
    scheduler.add_request(request("a", list(range(3, 15))))
    run_step(scheduler)
    scheduler.add_request(request("b", list(range(30, 42))))
    step = scheduler.schedule()
    scheduler.restart(step.released)
    assert kv_cache.usage == 0
    scheduler.add_request(request("c", list(range(30, 42))))
    step, _ = run_step(scheduler)
    assert dict(zip([r.request_id for r in step.requests], step.num_new_tokens, strict=True))["b"] == 12
    assert {"a", "b"} <= set(step.released)
    assert finish(scheduler)[1] == dict.fromkeys("abc", "length")


def test_drafts_of_a_failed_step_are_forgotten():
    scheduler, _ = make(speculative=SpeculativeConfig("ngram", num_speculative_tokens=3))
    scheduler.add_request(request("a", [5, 6, 7] * 4, max_tokens=9, temperature=0))
    run_step(scheduler, token=5)
    step = scheduler.schedule()
    assert step.num_new_tokens == [4]  # a token and its draft
    scheduler.restart(step.released)
    assert scheduler.schedule().num_new_tokens == [13]
    assert step.requests[0].draft == []


def test_priority_policy_runs_lower_numbers_first():
    scheduler, _ = make(policy="priority", max_num_seqs=1)
    scheduler.add_request(request("late", [5] * 3, priority=5))
    scheduler.add_request(request("soon", [5] * 3, priority=-1))
    assert [r.request_id for r in run_step(scheduler)[0].requests] == ["soon"]


def test_priority_policy_preempts_the_least_important():
    scheduler, _ = make(policy="priority", num_blocks=4, caching=False)
    scheduler.add_request(request("low", [5] * 7, priority=9, max_tokens=8))
    scheduler.add_request(request("high", [5] * 7, priority=1, max_tokens=8))
    released = []
    for _ in range(4):
        released += run_step(scheduler)[0].released
    assert released == ["low"]
    assert set(finish(scheduler)[1]) == {"low", "high"}


def test_prompt_that_can_never_fit_is_refused():
    scheduler, _ = make(num_blocks=4)
    with pytest.raises(PromptTooLongError, match=r"is 16 tokens \(the KV cache's size\), but the prompt has 16"):
        scheduler.add_request(request("a", [5] * 16))
    assert not scheduler.has_unfinished()


def test_answer_ends_where_the_cache_does():
    scheduler, _ = make(num_blocks=4)
    scheduler.add_request(request("a", [5] * 10, max_tokens=100))
    tokens, reasons = finish(scheduler)
    assert len(tokens["a"]) == 6 and reasons == {"a": "length"}


def test_request_id_in_use():
    scheduler, _ = make()
    scheduler.add_request(request("a", [5]))
    with pytest.raises(VLLMValidationError, match="in use"):
        scheduler.add_request(request("a", [5]))


@pytest.mark.parametrize(
    ("params", "token", "expected"),
    [
        ({}, EOS, ("stop", None)),
        ({"ignore_eos": True}, EOS, (None, None)),
        ({"stop_token_ids": [9]}, 9, ("stop", 9)),
        ({"stop_token_ids": [9], "min_tokens": 1}, 9, (None, None)),
        ({"max_tokens": 1}, 5, ("length", None)),
    ],
)
def test_why_a_sequence_ends(params, token, expected):
    scheduler, _ = make()
    scheduler.add_request(request("a", [5] * 3, **{"max_tokens": 4, **params}))
    output = run_step(scheduler, token)[1][0]
    assert (output.finish_reason, output.stop_reason) == expected


def test_abort_frees_blocks_of_running_and_waiting():
    scheduler, kv_cache = make(max_num_seqs=1)
    scheduler.add_request(request("a", [5] * 9))
    scheduler.add_request(request("b", [5] * 9))
    run_step(scheduler)
    scheduler.abort(["a", "b", "unknown"])
    assert not scheduler.has_unfinished()
    assert kv_cache.pool.num_free == kv_cache.pool.num_blocks
    assert scheduler.schedule().released == ["a", "b"]


def test_reset_waits_until_nothing_is_held():
    scheduler, kv_cache = make()
    scheduler.add_request(request("a", list(range(10, 20))))
    run_step(scheduler)
    assert not kv_cache.reset()
    finish(scheduler)
    assert kv_cache.reset()
    scheduler.add_request(request("b", list(range(10, 20))))
    assert run_step(scheduler)[0].num_new_tokens == [10]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20), st.integers(0, 2)), min_size=1, max_size=12),
    num_blocks=st.integers(9, 24),
    budget=st.integers(8, 40),
    caching=st.booleans(),
    policy=st.sampled_from(["fcfs", "priority"]),
)
def test_everything_finishes_within_the_limits(lengths, num_blocks, budget, caching, policy):
    scheduler, kv_cache = make(num_blocks, 48, caching, max_num_batched_tokens=budget, max_num_seqs=5, policy=policy)
    for index, (prompt, answer, priority) in enumerate(lengths):
        tokens = [3 + (index * i) % 5 for i in range(prompt)]
        scheduler.add_request(request(str(index), tokens, max_tokens=answer, priority=priority))
    made = {str(i): 0 for i in range(len(lengths))}
    for _ in range(4000):
        if not scheduler.has_unfinished():
            break
        step, outputs = run_step(scheduler)
        assert 0 < sum(step.num_new_tokens) <= budget and len(step.requests) <= 5
        for each in outputs:
            made[each.request_id] += len(each.new_token_ids)
    capacity = min(48, num_blocks * BLOCK)
    assert made == {str(i): min(answer, capacity - prompt) for i, (prompt, answer, _) in enumerate(lengths)}
    assert kv_cache.pool.num_free == num_blocks
