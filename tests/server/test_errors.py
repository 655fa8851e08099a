"""Refusals: the right status, OpenAI's error object, one line that says what to do."""

import json
import re

import pytest

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


def check_error(response, status: int, *words: str, param: str | None = None):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error"}
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert "\n" not in error["message"]
    for word in words:
        assert word in error["message"]
    if param is not None:
        assert error["param"] == param
    return error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"prompt": ',
        b"not json",
        b'{"prompt": "x",}',
        b'{"prompt": "x"} tail',
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "x", "temperature": NaN}',
        b'{"prompt": "x", "temperature": Infinity}',
        b'\xff\xfe{"prompt": "x"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:30]),
)
@pytest.mark.parametrize("path", [COMPLETIONS, CHAT, "/tokenize", "/detokenize"])
def test_what_is_not_json(http, path, body):
    check_error(http.post(path, content=body), 400, "not JSON")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("path", [COMPLETIONS, CHAT, "/tokenize", "/invocations"])
def test_bodies_that_say_they_are_something_else(http, path, kind):
    response = http.post(path, content=b'{"prompt": "a"}', headers={"Content-Type": kind})
    check_error(response, 415, "Content-Type: application/json")


def test_bodies_that_do_not_say_what_they_are(http):
    assert http.post(COMPLETIONS, content=b'{"prompt": "a", "max_tokens": 1}').status_code == 200
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert http.post(COMPLETIONS, content=b'{"prompt": "a", "max_tokens": 1}', headers=headers).status_code == 200


@pytest.mark.parametrize("options", [{}, {"include_usage": True}, {"continuous_usage_stats": None}])
def test_options_of_streams_need_a_stream(http, options):
    body = {"stream_options": options, "stream": False}
    for path, asked in ((COMPLETIONS, {"prompt": "a"}), (CHAT, {"messages": HELLO})):
        error = check_error(http.post(path, json=asked | body), 400, "stream=true")
        assert error["param"] == "stream_options" and error["message"].startswith("stream_options is accepted")


@pytest.mark.parametrize(
    "path",
    ["/v1/embeddings", "/v1/responses", "/rerank", "/sleep", "/v1/load_lora_adapter", "/pause", "/tokenizer_info"],
)
def test_paths_that_are_not_offered_say_so(http, path):
    check_error(http.post(path, json={}), 404, f"{path} is not offered yet: ")


@pytest.mark.parametrize("body", ["[]", '"text"', "5", "null", "true"])
def test_what_is_not_an_object(http, body):
    check_error(http.post(COMPLETIONS, content=body), 400, "give an object")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", 5),
        ("prompt", None),
        ("prompt", {}),
        ("prompt", []),
        ("prompt", [[]]),
        ("prompt", [1, "two"]),
        ("prompt", [[1], "two"]),
        ("prompt", [-1]),
        ("prompt", [1.5]),
        ("prompt", [True]),
        ("temperature", "hot"),
        ("temperature", True),
        ("temperature", -1),
        ("temperature", 10**400),
        ("top_p", 0),
        ("top_p", 1.01),
        ("top_k", -2),
        ("top_k", 1.5),
        ("min_p", 2),
        ("n", 0),
        ("n", -1),
        ("n", 10**9),
        ("n", 10_000),
        ("n", True),
        ("n", 1.0),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", "many"),
        ("max_tokens", 10**9),
        ("max_tokens", 10**30),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("repetition_penalty", 0),
        ("seed", 10**30),
        ("seed", 1.5),
        ("stop", 5),
        ("stop", [5]),
        ("stop", [""]),
        ("stop_token_ids", [-1]),
        ("stop_token_ids", "5"),
        ("stop_token_ids", [10**9]),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {"5": 101}),
        ("logit_bias", {"5": "much"}),
        ("logit_bias", [1]),
        ("logprobs", 21),
        ("logprobs", -2),
        ("logprobs", True),
        ("prompt_logprobs", 21),
        ("allowed_token_ids", []),
        ("bad_words", [""]),
        ("min_tokens", -1),
        ("ignore_eos", "yes"),
        ("stream", "yes"),
        ("echo", 1),
        ("stream_options", []),
        ("stream_options", {"usage": True}),
        ("truncate_prompt_tokens", -2),
        ("truncate_prompt_tokens", 4097),
        ("request_id", ""),
        ("request_id", 5),
        ("model", 5),
        ("priority", "high"),
        ("priority", 2**63),
        ("priority", -(10**300)),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_values_that_are_not_accepted(http, field, value):
    body = json.dumps({"prompt": "x", field: value})
    error = check_error(http.post(COMPLETIONS, content=body), 400, field)
    assert error["param"].startswith(field)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "hello",
        [5],
        [{}],
        [{"role": 5, "content": "x"}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        [{"role": "user", "content": [{"type": "text"}]}],
        [{"role": "user", "content": [{"type": ["text"], "text": "x"}]}],
        [{"role": "user", "content": [{"type": "thinking", "text": "x"}]}],
        [{"role": "user", "content": [5]}],
        [{"role": "user", "content": "x", "name": 5}],
        [{"role": "user", "content": "x", "type": "function_call"}],
        [{"role": "user", "content": "x", "type": ["text"]}],
        [{"role": "tool", "content": "x", "tool_call_id": "1"}],
        [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
    ],
    ids=lambda value: repr(value)[:40],
)
def test_messages_that_are_not_accepted(http, messages):
    check_error(http.post(CHAT, json={"messages": messages}), 400, "messages", param="messages")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("response_format", {"type": "json_object"}),
        ("structured_outputs", {"json": {}}),
        ("best_of", 2),
        ("modalities", ["text", "audio"]),
        ("reasoning_effort", "high"),
        ("logits_processors", ["a.b"]),
        ("cache_salt", "x"),
        ("logprob_token_ids", [5]),
        ("return_prompt_text", True),
    ],
)
def test_fields_that_are_not_offered_are_refused_by_name(http, field, value):
    response = http.post(CHAT, json={"messages": HELLO, field: value})
    check_error(response, 400, f"{field} is not offered", param=field)


def test_suffix_is_refused_by_name(http):
    check_error(
        http.post(COMPLETIONS, json={"prompt": "a", "suffix": "b"}), 400, "suffix is not offered", param="suffix"
    )


def test_unknown_fields_are_refused_with_a_suggestion(http):
    response = http.post(COMPLETIONS, json={"prompt": "x", "temprature": 1})
    check_error(response, 400, "temprature", "'temperature'", param="temprature")


def test_missing_fields_are_named(http):
    check_error(http.post(COMPLETIONS, json={}), 400, "'prompt' is missing", param="prompt")
    check_error(http.post(CHAT, json={}), 400, "'messages' is missing", param="messages")
    check_error(http.post("/detokenize", json={}), 400, "'tokens' is missing", param="tokens")
    check_error(http.post("/tokenize", json={}), 400, "prompt or messages")


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT, "/tokenize"])
def test_unknown_model_is_404(http, path):
    body = {"model": "other", "prompt": "x"} if path != CHAT else {"model": "other", "messages": HELLO}
    error = check_error(http.post(path, json=body), 404, "other", "tiny", param="model")
    assert error["code"] == "model_not_found"


def test_prompt_over_max_model_len(http):
    for stream in (False, True):
        response = http.post(COMPLETIONS, json={"prompt": [5] * 4096, "stream": stream})
        assert check_error(response, 400, "4096", "max_model_len")["code"] == "context_length_exceeded"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_answer_over_max_model_len(http, name):
    response = http.post(CHAT, json={"messages": HELLO, name: 4097})
    error = check_error(response, 400, f"{name}=4097", "maximum context length is 4096", param=name)
    assert error["code"] == "context_length_exceeded"
    body = {"prompt": [5] * 4090, "max_tokens": 4096, "ignore_eos": True}
    assert http.post(COMPLETIONS, json=body).json()["usage"]["completion_tokens"] == 6


def test_token_outside_of_the_vocabulary(http):
    check_error(http.post(COMPLETIONS, json={"prompt": [10**6]}), 400, "1000000")
    check_error(http.post("/detokenize", json={"tokens": [10**6]}), 400, "1000000", param="tokens")


def test_error_tells_the_size_of_the_vocabulary_and_what_is_wrong_by_name(http):
    body = {"messages": HELLO, "logit_bias": {"1000000": 1}}
    size = re.search(r"from 0 to (\d+)", check_error(http.post(CHAT, json=body), 400, "1000000")["message"])
    assert f"{int(size[1]) + 1} tokens" in http.post(CHAT, json=body).text
    for seed, name in ((2**63, "less_than_equal"), (-(2**63) - 1, "greater_than_equal")):
        check_error(http.post(CHAT, json={"messages": HELLO, "seed": seed}), 400, str(seed), name, param="seed")


def test_empty_prompt(http):
    check_error(http.post(COMPLETIONS, json={"prompt": ""}), 400, "empty", param="prompt")


def test_chat_template_that_refuses(http):
    body = {"messages": HELLO, "continue_final_message": True}
    assert http.post(CHAT, json=body | {"max_tokens": 1}).status_code == 200
    for path in (CHAT, "/tokenize"):
        error = check_error(http.post(path, json=body | {"add_generation_prompt": True}), 400, "add_generation_prompt")
        assert error["param"] == "continue_final_message"
    body["chat_template_kwargs"] = {"messages": []}
    check_error(http.post(CHAT, json=body), 400, "chat_template_kwargs")


def test_unknown_path_and_method(http):
    check_error(http.get("/v1/nothing"), 404, "/v1/nothing")
    check_error(http.get(COMPLETIONS), 405, "POST")
    check_error(http.delete("/health"), 405, "GET")


def test_body_that_is_too_large(http):
    check_error(http.post(COMPLETIONS, content=b" " * (33 << 20)), 413, "32 MiB")


def test_top_logprobs_need_logprobs(http):
    check_error(http.post(CHAT, json={"messages": HELLO, "top_logprobs": 2}), 400, "logprobs", param="top_logprobs")


def test_the_server_still_answers(http):
    """Last in this file: nothing above has hurt it."""
    assert http.get("/health").status_code == 200
    assert http.post(COMPLETIONS, json={"prompt": "x", "max_tokens": 1}).status_code == 200
