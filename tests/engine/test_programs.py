"""Programs as they are written for vLLM: its modules, its flags, its loops."""

import argparse
import asyncio
import gc
import importlib
import pickle
import random
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from support.models import save_model, save_tokenizer
from vllm import LLM, EngineArgs, LLMEngine, RequestOutput, SamplingParams, exceptions
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.engine.async_llm import AsyncLLM
from vllm.exceptions import EngineDeadError, ModelError, NotOfferedError, VLLMValidationError
from vllm.logprobs import Logprob
from vllm.outputs import CompletionOutput, RequestMetrics
from vllm.renderers.chat_utils import load_chat_template
from vllm.renderers.hf import resolve_chat_template
from vllm.sampling_params import RequestOutputKind
from vllm.tokenizer import Tokenizer
from vllm.tokenizers import TokenizerLike, cached_get_tokenizer, cached_tokenizer_from_config, get_tokenizer
from vllm.tokenizers.detokenizer_utils import convert_ids_list_to_tokens
from vllm.usage.usage_lib import UsageContext
from vllm.utils import random_uuid
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.utils.network_utils import get_open_port
from vllm.utils.torch_utils import set_random_seed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = save_model("llama", tmp_path_factory.mktemp("llama"))
    save_tokenizer(folder, "{% for m in messages %}{{ m['content'] }}{% endfor %}")
    return str(folder)


@pytest.fixture(scope="module")
def llm(folder):
    return LLM(folder, max_model_len=64)


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
    arguments = EngineArgs.from_cli_args(parser.parse_args(["--model", folder]))
    engine = LLMEngine.from_engine_args(arguments, usage_context=UsageContext.ENGINE_CONTEXT, stat_loggers=None)
    waiting = [("a", SamplingParams(n=2, max_tokens=5)), ("b", SamplingParams(temperature=0, max_tokens=2))]
    finished = []
    while waiting or engine.has_unfinished_requests():
        if waiting:
            engine.add_request(random_uuid(), *waiting.pop(0), time.time(), None, None, None, 0)
        finished += [output for output in engine.step() if output.finished]
    assert {output.prompt: len(output.outputs) for output in finished} == {"a": 2, "b": 1}
    times = finished[0].metrics
    assert 0 < times.queued_ts <= times.scheduled_ts <= times.first_token_ts <= times.last_token_ts
    assert times.last_token_ts - times.first_token_ts < 60 and not times.is_corrupted


def test_an_engine_returns_the_ids_that_it_was_given(llm):
    engine = llm.llm_engine
    assert engine.add_request("mine", "a", SamplingParams()) == "mine"
    engine.abort_request(["mine"], internal=True)
    assert engine.get_num_unfinished_requests() == 0 and engine.get_supported_tasks() == ("generate",)
    with pytest.raises(TypeError, match=r"request_id must be a string, got .*int"):
        engine.add_request(7, "a", SamplingParams())


def test_errors_are_of_upstreams_kinds():
    assert issubclass(NotOfferedError, exceptions.VLLMClientError) and issubclass(NotOfferedError, ValueError)
    assert issubclass(EngineDeadError, exceptions.VLLMServerError) and issubclass(EngineDeadError, RuntimeError)
    error = exceptions.VLLMValidationError("no", parameter="n", value=3)
    assert isinstance(error, exceptions.VLLMError) and (str(error), error.parameter, error.value) == ("no", "n", 3)


def test_an_llm_of_arguments_that_are_there(folder):
    llm = LLM.from_engine_args(EngineArgs(folder, max_model_len=48))
    assert (llm.model_config.max_model_len, llm.get_world_size()) == (48, 1)


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ({"lora_request": "a"}, "lora_request is not offered yet: leave it out"),
        ({"trace_headers": {"traceparent": "a"}}, "trace_headers is not offered yet: leave it out"),
        ({"tokenization_kwargs": {"truncation": True}}, "the tokenizer's truncation=True is not offered: leave it out"),
    ],
)
def test_what_a_request_may_not_ask_for_is_refused_by_name(llm, arguments, refused):
    with pytest.raises(NotOfferedError, match=f"^{refused}"):
        llm.llm_engine.add_request("a", "a", SamplingParams(), **arguments)
    assert not llm.llm_engine.has_unfinished_requests()
    with pytest.raises(NotOfferedError, match=f"^{refused}"):
        asyncio.run(anext(AsyncLLM.generate(None, "a", SamplingParams(), "a", **arguments)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("multi_modal_data", {"image": np.zeros((2, 2))}),
        ("cache_salt", "mine"),
        ("prompt_embeds", torch.zeros(2, 4)),
        ("encoder_prompt", "b"),
    ],
)
def test_what_a_prompt_may_not_hold_is_refused_by_name(llm, key, value):
    with pytest.raises(NotOfferedError, match=f"^{key} is not offered yet: leave it out$"):
        llm.generate({"prompt": "a", key: value}, use_tqdm=False)


def test_keys_of_prompts_that_ask_for_nothing_are_accepted(llm):
    prompts = [{"prompt": "a", "multi_modal_data": None, "row": 3}, {"prompt_token_ids": [5], "multi_modal_data": {}}]
    outputs = llm.generate(prompts, SamplingParams(max_tokens=1), use_tqdm=False)
    assert [output.prompt for output in outputs] == ["a", None]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, True),
        ({"truncation": False}, True),
        ({"add_special_tokens": False}, False),
        ({"add_special_tokens": True}, True),
    ],
)
def test_a_request_says_whether_special_tokens_are_added(llm, monkeypatch, said, expected):
    seen = []
    encode = llm.get_tokenizer().encode
    monkeypatch.setattr(llm.get_tokenizer(), "encode", lambda text, added: seen.append(added) or encode(text, added))
    llm.llm_engine.add_request("a", "a", SamplingParams(), tokenization_kwargs=said)
    llm.llm_engine.abort_request(["a"])
    params = SamplingParams(max_tokens=1)
    llm.generate("a", params, use_tqdm=False, tokenization_kwargs=said)
    llm.chat([{"role": "user", "content": "a"}], params, use_tqdm=False, tokenization_kwargs=said)
    in_chat = said == {"add_special_tokens": True}  # otherwise templates write them
    assert seen == [expected, expected, in_chat]


@pytest.mark.parametrize("engine_class", [LLMEngine, AsyncLLM])
def test_loggers_of_statistics_are_refused_by_name(folder, engine_class):
    arguments = AsyncEngineArgs(folder)
    config = arguments.create_engine_config(UsageContext.ENGINE_CONTEXT)
    for make, given in ((engine_class.from_vllm_config, config), (engine_class.from_engine_args, arguments)):
        with pytest.raises(NotOfferedError, match=r"^stat_loggers is not offered yet: leave it out$"):
            make(given, stat_loggers=[print])


@pytest.mark.parametrize(
    "upstream", ["vllm.v1.engine.async_llm:AsyncLLM", "vllm.engine.async_llm_engine:AsyncLLMEngine"]
)
def test_an_answer_is_streamed(folder, upstream):
    module, name = upstream.split(":")
    engine_class = getattr(__import__(module, fromlist=[name]), name)

    async def stream() -> list[RequestOutput]:
        arguments = AsyncEngineArgs(model=folder, enforce_eager=True)
        engine = engine_class.from_engine_args(arguments, True, UsageContext.LLM_CLASS, stat_loggers=None)
        assert engine.vllm_config.model_config is engine.model_config
        params = SamplingParams(max_tokens=6, ignore_eos=True, output_kind=RequestOutputKind.DELTA)
        try:
            return [o async for o in engine.generate(request_id="1", prompt="a", sampling_params=params)]
        finally:
            engine.shutdown()

    outputs = asyncio.run(stream())
    assert [o.finished for o in outputs] == [False] * (len(outputs) - 1) + [True]
    assert sum(len(o.outputs[0].token_ids) for o in outputs) == 6


NOT_OFFERED = {
    "vllm": "PoolingParams PoolingOutput PoolingRequestOutput EmbeddingRequestOutput ScoringOutput",
    "vllm.pooling_params": "PoolingParams",
    "vllm.outputs": "EmbeddingOutput ClassificationOutput ClassificationRequestOutput ScoringRequestOutput",
    "vllm.sampling_params": "StructuredOutputsParams BeamSearchParams",
    "vllm.lora.request": "LoRARequest",
    "vllm.config": "AttentionConfig CompilationConfig KVTransferConfig LoadConfig PoolerConfig StructuredOutputsConfig",
}


@pytest.mark.parametrize(("module", "name"), [(m, name) for m, names in NOT_OFFERED.items() for name in names.split()])
def test_what_is_not_offered_can_be_named_and_not_made(module, name):
    known = getattr(importlib.import_module(module), name)
    assert not isinstance("text", known | None)
    with pytest.raises(NotOfferedError, match=f"^{name} is not offered: .+"):
        known("a", some=1)


def test_imports_of_programs_load_no_torch():
    code = """
import sys
from vllm import LLM, PoolingParams, PoolingRequestOutput
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.distributed.parallel_state import destroy_distributed_environment, destroy_model_parallel
from vllm.logger import init_logger
from vllm.lora.request import LoRARequest
from vllm.sampling_params import BeamSearchParams, StructuredOutputsParams
from vllm.tokenizers import get_tokenizer
from vllm.transformers_utils.tokenizer import AnyTokenizer
from vllm.triton_utils import HAS_TRITON
from vllm.usage.usage_lib import UsageContext
from vllm.utils.network_utils import get_open_port
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.engine.llm_engine import LLMEngine

destroy_model_parallel()
destroy_distributed_environment()
cleanup_dist_env_and_memory()
init_logger(__name__).info("a program")
tokenizer: AnyTokenizer | None = None
outputs: list[PoolingRequestOutput["PoolingOutput"]] = [UsageContext.ENGINE_CONTEXT]
assert "torch" not in sys.modules and "transformers" not in sys.modules and not HAS_TRITON
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tokenizers_and_templates_under_their_upstream_names(llm, folder):
    tokenizer = cached_get_tokenizer(folder)
    assert tokenizer is cached_get_tokenizer(folder) and isinstance(tokenizer, TokenizerLike)
    assert tokenizer.name_or_path == llm.get_tokenizer().name_or_path == folder
    config = llm.llm_engine.model_config
    assert cached_tokenizer_from_config(config).encode("a") == tokenizer.encode("a")
    given = {"tools": None, "model_config": config}
    assert resolve_chat_template(tokenizer, None, **given) == tokenizer.chat_template
    assert resolve_chat_template(tokenizer, "{{ 1 }}", **given) == "{{ 1 }}"
    assert resolve_chat_template(Tokenizer(Path(folder)), None, **given) is not None


def test_a_models_configuration_is_read_as_attributes(llm):
    config = pickle.loads(pickle.dumps(llm.llm_engine.vllm_config))
    known = config.model_config.hf_config
    assert known.model_type == known["model_type"] == "llama" and known.to_dict() == dict(known)
    assert config.model_config.hf_text_config is known and config.parallel_config.world_size == 1
    assert not hasattr(known, "no_such_key")


def test_a_model_may_have_no_template(tmp_path):
    save_tokenizer(tmp_path)
    assert resolve_chat_template(Tokenizer(tmp_path), None, None) is None


@pytest.mark.parametrize("wrong", [5, "no_such_file"])
def test_a_template_that_is_none_is_refused_before_the_model(wrong):
    with pytest.raises(VLLMValidationError, match=f"{wrong}.* give a file or a jinja2 template"):
        LLM("no model", chat_template=wrong)


def test_an_engines_template_may_be_a_file(folder, tmp_path):
    (tmp_path / "a.jinja").write_text("{{ messages[0].content }}!")
    llm = LLM(folder, chat_template=tmp_path / "a.jinja", max_model_len=64)
    (output,) = llm.chat([{"role": "user", "content": "a"}], SamplingParams(max_tokens=1), use_tqdm=False)
    assert output.prompt == "a!"


def test_a_template_is_a_file_or_text(tmp_path):
    path = tmp_path / "a.jinja"
    path.write_text("{{ messages }}")
    assert load_chat_template(path) == load_chat_template(str(path)) == load_chat_template("{{ messages }}")
    assert load_chat_template(str(path), is_literal=True) == str(path) and load_chat_template(None) is None
    with pytest.raises(VLLMValidationError, match="No such file or directory; give a file or a jinja2 template"):
        load_chat_template(tmp_path / "{{ no }}")


def test_a_tokenizer_without_an_engine(folder):
    tokenizer = get_tokenizer(folder, trust_remote_code=True, tokenizer_mode="auto")
    assert tokenizer.decode(tokenizer.encode("a")) == "a"
    assert convert_ids_list_to_tokens(tokenizer, tokenizer.encode("ab", add_special_tokens=False)) in (
        ["ab"],
        ["a", "b"],
    )
    with pytest.raises(NotOfferedError, match="get_tokenizer's tokenizer_mode='slow' is not offered: leave it out"):
        get_tokenizer(folder, tokenizer_mode="slow")
    with pytest.raises(ModelError, match="does not exist"):
        get_tokenizer(Path(folder) / "no")


def test_engines_that_were_dropped_are_freed(folder):
    llm = LLM(folder, max_model_len=64)
    llm.itself = llm  # what only the collector finds
    gone = weakref.ref(llm)
    gc.disable()
    try:
        del llm
        assert gone() is not None
        cleanup_dist_env_and_memory()
        assert gone() is None
    finally:
        gc.enable()


def test_seeds_are_everyones():
    def drawn() -> list[float]:
        set_random_seed(7)
        return [random.random(), float(np.random.rand()), float(torch.rand(1))]

    assert drawn() == drawn()
    random.seed(1)
    before = random.getstate()
    set_random_seed(None)
    assert random.getstate() == before


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


def test_outputs_take_fields_of_other_versions(caplog):
    output = RequestOutput("1", "p", [4], None, outputs=[], finished=True, another=3)
    assert output.finished and "another" in caplog.text and not hasattr(output, "another")


def _part(text, finish_reason=None, index=0):
    completion = CompletionOutput(index, text, [ord(text)], -1.0, [{ord(text): Logprob(-1.0)}], finish_reason)
    return RequestOutput("1", "p", [4], None, [completion], finish_reason is not None)


@pytest.mark.parametrize(("aggregate", "text"), [(True, "ab"), (False, "b")])
def test_outputs_are_added_up(aggregate, text):
    output = _part("a")
    output.add(_part("c", index=1), aggregate)
    output.add(_part("b", "length"), aggregate)
    first, second = output.outputs
    assert (first.text, first.token_ids, first.finish_reason) == (text, [ord(c) for c in text], "length")
    assert [list(entry) for entry in first.logprobs] == [[ord(c)] for c in text]
    assert (second.index, second.text, second.finish_reason, output.finished) == (1, "c", None, True)


def test_an_open_port_can_be_listened_on():
    with socket.create_server(("", get_open_port())) as listener:
        assert listener.getsockname()[1] > 0
