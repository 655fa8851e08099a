"""SamplingParams: defaults, what is accepted, and messages that name field, value and range."""

import math

import msgspec
import numpy as np
import pytest

from vllm import SamplingParams
from vllm.exceptions import NotOfferedError, VLLMValidationError
from vllm.sampling_params import RequestOutputKind

REFUSED = [
    ("n", 0, "an integer from 1"),
    ("n", 1.0, "an integer from 1"),
    ("n", True, "an integer from 1"),
    ("presence_penalty", 2.1, "a number from -2 to 2"),
    ("frequency_penalty", -2.5, "a number from -2 to 2"),
    ("frequency_penalty", math.nan, "a number from -2 to 2"),
    ("repetition_penalty", 0.0, "a number greater than 0"),
    ("repetition_penalty", -1.0, "a number greater than 0"),
    ("temperature", -0.1, r"a number from 0 \(greedy\)"),
    ("temperature", math.inf, r"a number from 0 \(greedy\)"),
    ("temperature", "hot", r"a number from 0 \(greedy\)"),
    ("top_p", 0.0, "a number greater than 0 and at most 1"),
    ("top_p", 1.1, "a number greater than 0 and at most 1"),
    ("top_k", -2, "-1 or 0"),
    ("top_k", 1.5, "-1 or 0"),
    ("min_p", 1.5, "a number from 0 to 1"),
    ("seed", 2**63, "None or a 64-bit integer"),
    ("stop", [""], "a list of strings that are not empty"),
    ("stop", [3], "a list of strings that are not empty"),
    ("stop_token_ids", ["a"], "a list of token ids"),
    ("stop_token_ids", [-1], "a list of token ids"),
    ("stop_token_ids", [[1]], "a list of token ids"),
    ("allowed_token_ids", [], "None or at least one token id"),
    ("bad_words", [""], "a list of strings that are not empty"),
    ("max_tokens", 0, "None .* or an integer from 1"),
    ("min_tokens", -1, "an integer from 0"),
    ("min_tokens", 17, "at most max_tokens, which is 16"),
    ("logprobs", -2, "None, -1 .* or an integer from 0"),
    ("prompt_logprobs", 1.5, "None, -1 .* or an integer from 0"),
    ("logit_bias", {3: 101}, "biases from -100 to 100"),
    ("logit_bias", {"x": 1}, "a mapping from token ids"),
    ("logit_bias", [1], "a mapping from token ids"),
    ("logit_bias", [], "a mapping from token ids"),
    ("ignore_eos", 1, "True or False"),
    ("output_kind", 7, "a RequestOutputKind"),
]


@pytest.mark.parametrize(("field", "value", "accepted"), REFUSED)
def test_refused(field, value, accepted):
    with pytest.raises(ValueError, match=accepted) as caught:
        SamplingParams(**{field: value})
    message = str(caught.value)
    assert message.startswith(f"{field}=") and "\n" not in message
    assert caught.value.parameter == field


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("stop", "end", ["end"]),
        ("stop", None, []),
        ("top_k", -1, 0),
        ("logprobs", True, 1),
        ("logprobs", False, None),
        ("logit_bias", {"17": 1.5}, {17: 1.5}),
        ("temperature", 0, 0),
        ("temperature", np.float32(0.5), 0.5),
        ("max_tokens", np.int64(5), 5),
        ("seed", np.uint32(7), 7),
        ("max_tokens", None, None),
        ("seed", -1, None),
        ("stop_token_ids", [42, 7, 42], [42, 7]),
        ("bad_words", ("b", "a", "b"), ["b", "a"]),
    ],
)
def test_accepted_forms(field, given, kept):
    found = getattr(SamplingParams(**{field: given}), field)
    assert found == kept and type(found) in (int, float, list, dict, type(None))


def test_integers_where_floats_are_meant():
    names = ["temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"]
    params = SamplingParams(**dict.fromkeys(names, 1))
    assert all(type(getattr(params, name)) is float for name in names)


def test_structured_outputs_are_refused_by_name():
    with pytest.raises(NotOfferedError, match="structured_outputs is not offered yet"):
        SamplingParams(structured_outputs={"json": {}})


@pytest.mark.parametrize(
    ("name", "nothing", "something"),
    [
        ("logprob_token_ids", None, [1]),
        ("prompt_logprob_token_ids", None, np.array([[1]])),
        ("routed_experts_prompt_start", 0, 3),
        ("stream_interval", 1, 2),
        ("watermarking", False, True),
    ],
)
def test_fields_of_upstream_may_ask_for_nothing(name, nothing, something):
    assert SamplingParams(**{name: nothing}).n == 1
    with pytest.raises(NotOfferedError, match=f"^{name} is not offered yet: leave it out$") as caught:
        SamplingParams(**{name: something})
    assert caught.value.parameter == name


def test_unknown_field_is_an_error():
    with pytest.raises(TypeError, match="guided_json"):
        SamplingParams(guided_json="{}")


def test_stop_strings_need_text():
    with pytest.raises(VLLMValidationError, match="detokenize=True"):
        SamplingParams(stop="x", detokenize=False)


def test_from_optional_takes_none_as_default():
    params = SamplingParams.from_optional(temperature=None, top_p=0.5, max_tokens=None)
    assert (params.temperature, params.top_p, params.max_tokens) == (1.0, 0.5, None)


def test_survives_the_process_border():
    params = SamplingParams(n=2, stop=["a"], logit_bias={5: -1.0}, output_kind=RequestOutputKind.DELTA, seed=3)
    encoded = msgspec.msgpack.encode(params)
    assert msgspec.msgpack.decode(encoded, type=SamplingParams) == params


def test_most_answers(monkeypatch):
    assert SamplingParams(n=16384).n == 16384
    with pytest.raises(VLLMValidationError, match=r"^n must be at most 16384, "):
        SamplingParams(n=16385)
    monkeypatch.setenv("VLLM_MAX_N_SEQUENCES", "128")
    with pytest.raises(VLLMValidationError, match=r"^n must be at most 128, "):
        SamplingParams(n=129)


def test_clone_is_independent():
    params = SamplingParams(n=3)
    copy = params.clone()
    copy.n = 1
    assert params.n == 3
