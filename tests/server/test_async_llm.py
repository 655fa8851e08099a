"""AsyncLLM as programs written for vLLM use it."""

import asyncio
import errno
import os
import signal

import pytest

from vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams
from vllm.distributed.child_process import ChildProcess
from vllm.engine import core_child
from vllm.engine.async_llm import AsyncLLM
from vllm.exceptions import EngineDeadError, ModelError, NotOfferedError, VLLMValidationError
from vllm.sampling_params import RequestOutputKind

GREEDY = {"temperature": 0.0, "max_tokens": 8, "ignore_eos": True}


@pytest.fixture(scope="module")
def arguments(tiny_model):
    return AsyncEngineArgs(model=str(tiny_model), max_model_len=4096, kv_cache_memory_bytes=64 << 20)


def run(arguments, scenario):
    """Runs a scenario against an engine of its own, and ends that engine."""

    async def inner():
        llm = AsyncLLM.from_engine_args(arguments)
        try:
            return await asyncio.wait_for(scenario(llm), 120)
        finally:
            llm.shutdown()

    return asyncio.run(inner())


async def collect(llm, prompt, params, request_id):
    return [output async for output in llm.generate(prompt, params, request_id)]


def test_it_has_vllms_name():
    assert AsyncLLMEngine is AsyncLLM


def test_output_kinds_tell_the_same(arguments):
    async def scenario(llm):
        await llm.check_health()  # before the first request, too
        assert llm.is_running and not llm.errored
        kinds = list(RequestOutputKind)
        params = [SamplingParams(**GREEDY, output_kind=kind) for kind in kinds]
        answers = await asyncio.gather(*(collect(llm, "hello", p, f"r{i}") for i, p in enumerate(params)))
        return dict(zip(kinds, answers, strict=True))

    answers = run(arguments, scenario)
    final = answers[RequestOutputKind.FINAL_ONLY]
    assert len(final) == 1 and final[0].finished
    text = final[0].outputs[0].text
    assert answers[RequestOutputKind.CUMULATIVE][-1].outputs[0].text == text
    deltas = answers[RequestOutputKind.DELTA]
    assert "".join(output.outputs[0].text for output in deltas) == text
    assert [output.finished for output in deltas] == [False] * (len(deltas) - 1) + [True]


def test_many_requests_at_once_are_each_answered(arguments):
    async def scenario(llm):
        params = SamplingParams(**GREEDY, output_kind=RequestOutputKind.FINAL_ONLY)
        prompts = [{"prompt_token_ids": [3 + i] * (i + 1)} for i in range(24)]
        alone = await collect(llm, prompts[5], params, "alone")
        together = await asyncio.gather(*(collect(llm, p, params, f"r{i}") for i, p in enumerate(prompts)))
        return alone, together

    alone, together = run(arguments, scenario)
    assert [answer[0].request_id for answer in together] == [f"r{i}" for i in range(24)]
    assert all(len(answer[0].outputs[0].token_ids) == 8 for answer in together)
    assert together[5][0].outputs[0].token_ids == alone[0].outputs[0].token_ids


def test_bad_requests_are_refused_and_hurt_nobody(arguments):
    async def scenario(llm):
        with pytest.raises(VLLMValidationError, match="max_model_len"):
            await collect(llm, {"prompt_token_ids": [5] * 5000}, SamplingParams(), "long")
        with pytest.raises(NotOfferedError, match="lora_request"):
            await anext(llm.generate("x", SamplingParams(), "lora", lora_request="x"))
        with pytest.raises(NotOfferedError):
            await llm.encode("x")
        first = llm.generate("x", SamplingParams(max_tokens=500, ignore_eos=True), "same")
        await anext(first)
        with pytest.raises(VLLMValidationError, match="same"):
            await collect(llm, "x", SamplingParams(), "same")
        await anext(first)
        await first.aclose()
        return await collect(llm, "x", SamplingParams(**GREEDY), "same")

    assert run(arguments, scenario)[-1].finished


def test_request_that_can_never_fit_is_refused_by_the_core(tiny_model):
    small = AsyncEngineArgs(model=str(tiny_model), max_model_len=4096, num_gpu_blocks_override=4)

    async def scenario(llm):
        with pytest.raises(VLLMValidationError, match="KV cache"):
            await collect(llm, {"prompt_token_ids": [5] * 1000}, SamplingParams(n=3), "big")
        assert llm.num_open_requests == 0
        return await collect(llm, "x", SamplingParams(**GREEDY), "small")

    assert run(small, scenario)[-1].finished


def test_closing_and_aborting_free_the_request(arguments):
    async def scenario(llm):
        params = SamplingParams(max_tokens=4000, ignore_eos=True)
        left = llm.generate("x", params, "left")
        await anext(left)
        await left.aclose()
        for kind in RequestOutputKind:
            answers = SamplingParams(n=2, max_tokens=4000, ignore_eos=True, output_kind=kind)
            aborted = asyncio.create_task(collect(llm, "x", answers, kind.name))
            while not llm.output_processor.has_unfinished_requests():
                await asyncio.sleep(0.01)
            await llm.abort(kind.name, internal=False)
            *before, last = await aborted
            assert last.finished and not any(output.finished for output in before)
            assert [answer.finish_reason for answer in last.outputs] == ["abort", "abort"]
        await llm.abort(["unknown"])
        assert not llm.output_processor.has_unfinished_requests()
        while llm.stats.num_running or llm.stats.num_waiting:
            await asyncio.sleep(0.01)
        return llm.num_open_requests

    assert run(arguments, scenario) == 0


def test_an_id_can_be_used_again_at_once(arguments):
    """What the core still says of a request that was closed is nothing to the next of its name."""

    async def scenario(llm):
        params = SamplingParams(**GREEDY, output_kind=RequestOutputKind.FINAL_ONLY)
        wanted = (await collect(llm, "hello", params, "x"))[0].outputs[0].token_ids
        for _ in range(10):
            left = llm.generate("other", SamplingParams(max_tokens=100, ignore_eos=True), "x")
            await anext(left)
            await left.aclose()
            assert (await collect(llm, "hello", params, "x"))[0].outputs[0].token_ids == wanted
        several = SamplingParams(**GREEDY, n=2)
        await asyncio.gather(collect(llm, "hello", several, "a"), collect(llm, "hello", params, "a#0"))

    run(arguments, scenario)


@pytest.mark.parametrize(
    "values", [{"max_tokens": 10**6, "min_tokens": 10**6}, {"seed": 2**63 - 1, "n": 2}, {"extra_args": {1: 2}}], ids=str
)
def test_what_the_engine_makes_of_parameters_is_sound(arguments, values):
    async def scenario(llm):
        params = SamplingParams(**{"max_tokens": None, "output_kind": RequestOutputKind.FINAL_ONLY, **values})
        prompt = {"prompt_token_ids": [5] * (arguments.max_model_len - 8)}
        [output] = await collect(llm, prompt, params, "x")
        assert all(len(each.token_ids) <= 8 for each in output.outputs)

    run(arguments, scenario)


def test_parameters_that_were_spoiled_are_refused(arguments):
    params = SamplingParams()
    params.max_tokens = 5.5

    async def scenario(llm):
        with pytest.raises(VLLMValidationError, match=r"max_tokens=5\.5"):
            await collect(llm, "x", params, "x")
        return await collect(llm, "x", SamplingParams(**GREEDY), "x")

    assert run(arguments, scenario)[-1].finished


def test_one_event_loop(arguments):
    llm = AsyncLLM.from_engine_args(arguments)
    core = llm.core_pid
    try:
        assert asyncio.run(collect(llm, "x", SamplingParams(**GREEDY), "x"))[-1].finished
        with pytest.raises(VLLMValidationError, match=r"one asyncio\.run"):
            asyncio.run(collect(llm, "x", SamplingParams(**GREEDY), "x"))
    finally:
        llm.shutdown()
    with pytest.raises(ProcessLookupError):
        os.kill(core, 0)


def test_cancelled_tasks_take_nothing_along(arguments):
    async def scenario(llm):
        first = asyncio.create_task(collect(llm, "x", SamplingParams(**GREEDY), "first"))
        await asyncio.sleep(0)  # it waits for the engine now
        first.cancel()
        assert (await collect(llm, "x", SamplingParams(**GREEDY), "second"))[-1].finished
        call = asyncio.create_task(llm.reset_prefix_cache())
        os.kill(llm.core_pid, signal.SIGSTOP)  # it does not answer
        await asyncio.sleep(0.05)
        call.cancel()
        os.kill(llm.core_pid, signal.SIGKILL)
        while not llm.errored:
            await asyncio.sleep(0.01)
        while llm.errored:
            await asyncio.sleep(0.05)
        return await collect(llm, "x", SamplingParams(**GREEDY), "third")

    assert run(arguments, scenario)[-1].finished


class EndsAtOnce(ChildProcess):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        os.kill(self.pid, signal.SIGKILL)
        self.wait()


def cannot_be_started(*_):
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


@pytest.mark.parametrize(
    ("start", "cause"),
    [
        (EndsAtOnce, "SIGKILL.* while it loaded the model"),
        (cannot_be_started, "the engine process cannot be started: .*Cannot allocate memory"),
    ],
)
def test_an_engine_that_does_not_come_back_is_given_up(arguments, monkeypatch, start, cause):
    async def scenario(llm):
        await collect(llm, "x", SamplingParams(**GREEDY), "before")
        monkeypatch.setattr(core_child, "ChildProcess", start)
        os.kill(llm.core_pid, signal.SIGKILL)
        while not llm.is_stopped:
            await asyncio.sleep(0.05)
        with pytest.raises(EngineDeadError, match=cause):
            await llm.check_health()

    run(arguments, scenario)


def test_death_of_the_core_is_told_and_repaired(arguments):
    async def scenario(llm):
        running = llm.generate("x", SamplingParams(max_tokens=4000, ignore_eos=True), "running")
        await anext(running)
        os.kill(llm.core_pid, signal.SIGKILL)
        with pytest.raises(EngineDeadError, match="SIGKILL"):
            while True:
                await anext(running)
        assert llm.errored
        with pytest.raises(EngineDeadError):
            await llm.check_health()
        while llm.errored:
            await asyncio.sleep(0.05)
        await llm.check_health()
        return await collect(llm, "x", SamplingParams(**GREEDY), "after")

    assert run(arguments, scenario)[-1].finished


def test_reset_prefix_cache(arguments):
    async def scenario(llm):
        params = SamplingParams(**GREEDY, output_kind=RequestOutputKind.FINAL_ONLY)
        prompt = {"prompt_token_ids": [7] * 200}
        counts = []
        for name in ("first", "cached"):
            counts.append((await collect(llm, prompt, params, name))[0].num_cached_tokens)
        open_request = llm.generate(prompt, SamplingParams(max_tokens=4000, ignore_eos=True), "open")
        await anext(open_request)
        assert not await llm.reset_prefix_cache()
        assert await llm.reset_prefix_cache(reset_running_requests=True)
        await open_request.aclose()
        assert await llm.reset_prefix_cache()
        counts.append((await collect(llm, prompt, params, "again"))[0].num_cached_tokens)
        return counts

    first, cached, again = run(arguments, scenario)
    assert first == again == 0 < cached


def test_models_that_cannot_be_loaded(tiny_model, tmp_path):
    with pytest.raises(ModelError):
        AsyncLLM.from_engine_args(AsyncEngineArgs(model=str(tmp_path / "none")))
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        AsyncLLM.from_engine_args(AsyncEngineArgs(model=str(tmp_path)))
