"""An engine that is interrupted, called from several threads, and used after its end."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest

from support.models import mixed_prompts, save_model
from vllm import LLM, SamplingParams
from vllm.engine import core
from vllm.exceptions import EngineDeadError
from vllm.models.llama import LlamaLayer

PROMPT = {"prompt_token_ids": mixed_prompts(1, 20, seed=4)[0] * 9}


@pytest.fixture
def llm(tmp_path) -> LLM:
    return LLM(str(save_model("llama", tmp_path)), dtype="float32", max_model_len=256, block_size=8)


def ask(llm, prompt=PROMPT, max_tokens=24):
    params = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True, detokenize=False)
    return llm.generate(prompt, params, use_tqdm=False)[0]


def tokens(llm, prompt=PROMPT, max_tokens=24):
    return ask(llm, prompt, max_tokens).outputs[0].token_ids


def test_an_interrupted_step_leaves_nothing_behind(llm, monkeypatch):
    wanted = tokens(llm)
    assert llm.reset_prefix_cache()
    with monkeypatch.context() as patch:
        patch.setattr(LlamaLayer, "transform", interrupted := mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ask(llm)
        assert interrupted.called
    output = ask(llm)
    assert (output.outputs[0].token_ids, output.num_cached_tokens) == (wanted, 0)


def test_an_interrupt_at_the_end_of_a_step_loses_no_output(llm, monkeypatch):
    wanted = tokens(llm, max_tokens=3)
    engine = llm.llm_engine
    engine.add_request("r", PROMPT, SamplingParams(temperature=0, max_tokens=3, ignore_eos=True))

    @contextlib.contextmanager
    def interrupted():
        yield
        if engine.stats().num_running == 0:
            raise KeyboardInterrupt

    outputs = []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(core, "interrupts_deferred", interrupted)
        while True:
            outputs += engine.step()
    assert engine.has_unfinished_requests()
    outputs += engine.step()
    assert not engine.has_unfinished_requests()
    assert outputs[-1].finished and outputs[-1].outputs[0].token_ids == wanted


def test_threads_take_turns(llm):
    prompts = [{"prompt_token_ids": p} for p in mixed_prompts(6, 60, seed=9)]
    wanted = [tokens(llm, prompt) for prompt in prompts]
    with ThreadPoolExecutor(len(prompts)) as threads:
        assert list(threads.map(lambda prompt: tokens(llm, prompt), prompts)) == wanted


def test_after_its_end_an_engine_says_so(llm):
    llm.llm_engine.shutdown()
    with pytest.raises(EngineDeadError, match="was shut down"):
        ask(llm)
