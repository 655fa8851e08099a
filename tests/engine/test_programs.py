"""Programs as they are written for vLLM: its modules, its flags, its loops."""

import argparse
import asyncio
import socket

import pytest

from support.models import save_model, save_tokenizer
from vllm import LLM, EngineArgs, LLMEngine, RequestOutput, SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.logprobs import Logprob
from vllm.outputs import CompletionOutput, RequestMetrics
from vllm.sampling_params import RequestOutputKind
from vllm.utils import get_open_port, random_uuid
from vllm.utils.argparse_utils import FlexibleArgumentParser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = save_model("llama", tmp_path_factory.mktemp("llama"))
    save_tokenizer(folder, "{% for m in messages %}{{ m['content'] }}{% endfor %}")
    return str(folder)


@pytest.fixture
def parser():
    parser = FlexibleArgumentParser(description="a program", formatter_class=argparse.RawTextHelpFormatter)
    return EngineArgs.add_cli_args(parser)


def test_flags_make_an_llm(parser, folder):
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument("--max-tokens", type=int)
    parser.set_defaults(model=folder)
    args = vars(parser.parse_args(["--max_model_len", "64", "--dtype=float32", "--max_tokens", "3"]))
    max_tokens = args.pop("max_tokens")
    llm = LLM(**args)
    params = llm.get_default_sampling_params()
    params.max_tokens = max_tokens
    (output,) = llm.generate(["a"], params, use_tqdm=False)
    assert len(output.outputs[0].token_ids) == 3 and llm.model_config.max_model_len == 64


def test_an_engine_is_stepped(parser, folder):
    engine = LLMEngine.from_engine_args(EngineArgs.from_cli_args(parser.parse_args(["--model", folder])))
    waiting = [("a", SamplingParams(n=2, max_tokens=5)), ("b", SamplingParams(temperature=0, max_tokens=2))]
    finished = []
    while waiting or engine.has_unfinished_requests():
        if waiting:
            engine.add_request(random_uuid(), *waiting.pop(0))
        finished += [output for output in engine.step() if output.finished]
    assert {output.prompt: len(output.outputs) for output in finished} == {"a": 2, "b": 1}
    times = finished[0].metrics
    assert 0 < times.queued_ts <= times.scheduled_ts <= times.first_token_ts <= times.last_token_ts
    assert times.last_token_ts - times.first_token_ts < 60 and not times.is_corrupted


@pytest.mark.parametrize(
    "upstream", ["vllm.v1.engine.async_llm:AsyncLLM", "vllm.engine.async_llm_engine:AsyncLLMEngine"]
)
def test_an_answer_is_streamed(folder, upstream):
    module, name = upstream.split(":")
    engine_class = getattr(__import__(module, fromlist=[name]), name)

    async def stream() -> list[RequestOutput]:
        engine = engine_class.from_engine_args(AsyncEngineArgs(model=folder, enforce_eager=True))
        params = SamplingParams(max_tokens=6, ignore_eos=True, output_kind=RequestOutputKind.DELTA)
        try:
            return [o async for o in engine.generate(request_id="1", prompt="a", sampling_params=params)]
        finally:
            engine.shutdown()

    outputs = asyncio.run(stream())
    assert [o.finished for o in outputs] == [False] * (len(outputs) - 1) + [True]
    assert sum(len(o.outputs[0].token_ids) for o in outputs) == 6


def test_what_has_not_happened_has_no_time():
    metrics = RequestMetrics(arrival_time=3.0)
    assert (metrics.queued_ts, metrics.scheduled_ts, metrics.first_token_ts, metrics.last_token_ts) == (3.0, 0, 0, 0)


def test_outputs_are_objects_as_others():
    completion = CompletionOutput(0, "a", [5], -1.0, [{5: Logprob(-1.0)}])
    output = RequestOutput("1", "p", [4], None, [completion], True)
    assert vars(completion.logprobs[0][5]) == {"logprob": -1.0, "rank": None, "decoded_token": None}
    for each in ("lora_request", "encoder_prompt", "encoder_prompt_token_ids", "kv_transfer_params"):
        assert vars(output)[each] is None
    completion.score = 0.5
    assert vars(completion)["score"] == 0.5 and completion.lora_request is None


def test_an_open_port_can_be_listened_on():
    with socket.create_server(("", get_open_port())) as listener:
        assert listener.getsockname()[1] > 0
