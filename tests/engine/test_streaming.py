"""What a stream shows, step by step."""

import pytest

from support.models import mixed_prompts, save_model
from vllm import EngineArgs, LLMEngine, SamplingParams
from vllm.sampling_params import RequestOutputKind

PROMPT = {"prompt_token_ids": mixed_prompts(1, 20, seed=4)[0] * 3}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = save_model("llama", tmp_path_factory.mktemp("llama"))
    return LLMEngine.from_engine_args(EngineArgs(model=str(folder), dtype="float32", max_model_len=128))


def stream(engine, kind, **params):
    letters = engine.tokenizer.encode("abcdefghijklmnop")
    params = {"temperature": 0, "max_tokens": 20, "ignore_eos": True, "allowed_token_ids": letters, **params}
    engine.add_request("r", PROMPT, SamplingParams(output_kind=kind, **params))
    outputs = []
    while engine.has_unfinished_requests():
        outputs += engine.step()
    return outputs


def test_deltas_add_up_to_the_whole(engine):
    whole = stream(engine, RequestOutputKind.FINAL_ONLY, logprobs=1)
    assert len(whole) == 1 and whole[0].finished
    deltas = stream(engine, RequestOutputKind.DELTA, logprobs=1)
    assert len(deltas) == 20 and [d.finished for d in deltas] == [False] * 19 + [True]
    answer = whole[0].outputs[0]
    assert "".join(d.outputs[0].text for d in deltas) == answer.text
    assert [t for d in deltas for t in d.outputs[0].token_ids] == answer.token_ids
    assert [entry for d in deltas for entry in d.outputs[0].logprobs] == answer.logprobs


def test_cumulative_grows_to_the_whole(engine):
    whole = stream(engine, RequestOutputKind.FINAL_ONLY)[0].outputs[0].text
    texts = [o.outputs[0].text for o in stream(engine, RequestOutputKind.CUMULATIVE)]
    assert texts == [whole[: i + 1] for i in range(20)]


def test_stop_string_never_shows_in_part(engine):
    whole = stream(engine, RequestOutputKind.FINAL_ONLY)[0].outputs[0].text
    stop = whole[6:10]
    deltas = stream(engine, RequestOutputKind.DELTA, stop=[stop])
    shown = ""
    for each in deltas:
        shown += each.outputs[0].text
        assert whole[: whole.index(stop)].startswith(shown)
    assert shown == whole[: whole.index(stop)]
    assert deltas[-1].outputs[0].stop_reason == stop


def test_text_held_back_for_a_stop_string_comes_out_at_the_end(engine):
    whole = stream(engine, RequestOutputKind.FINAL_ONLY)[0].outputs[0].text
    deltas = stream(engine, RequestOutputKind.DELTA, stop=["never to be seen"])
    assert "".join(d.outputs[0].text for d in deltas) == whole


def test_several_answers_finish_together(engine):
    outputs = stream(engine, RequestOutputKind.DELTA, n=2, temperature=1.0, seed=1)
    assert {c.index for o in outputs for c in o.outputs} == {0, 1}
    assert [o.finished for o in outputs] == [False] * (len(outputs) - 1) + [True]


def test_abort(engine):
    engine.add_request("a", PROMPT, SamplingParams(n=2, max_tokens=50))
    engine.step()
    engine.abort_request(["a", "unknown"])
    assert not engine.has_unfinished_requests()
    assert engine.step() == []
    assert engine.stats().num_running == 0 and engine.reset_prefix_cache()


def test_running_requests_can_be_reset(engine):
    params = SamplingParams(temperature=0, max_tokens=20, ignore_eos=True)
    answers = []
    for resets in (False, True):
        engine.add_request("r", PROMPT, params)
        outputs = [output for _ in range(8) for output in engine.step()]
        assert not engine.reset_prefix_cache()
        if resets:
            assert engine.reset_prefix_cache(reset_running_requests=True)
        while engine.has_unfinished_requests():
            outputs += engine.step()
        answers.append(outputs[-1].outputs[0].token_ids)
    assert len(answers[0]) == 20 and answers[0] == answers[1]


def test_request_id_in_use(engine):
    engine.add_request("a", PROMPT, SamplingParams())
    with pytest.raises(ValueError, match="request_id 'a' is in use"):
        engine.add_request("a", PROMPT, SamplingParams())
    engine.abort_request(["a"])
