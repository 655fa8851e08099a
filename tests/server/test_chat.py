"""POST /v1/chat/completions against a real server."""

import json

import pytest

from support.server import Server, post_events
from vllm.entrypoints.openai.logprobs import chat_logprobs
from vllm.logprobs import Logprob

PATH = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "what is asked?"}]
GREEDY = {"temperature": 0, "max_tokens": 20, "ignore_eos": True}


def chat(http, **body):
    response = http.post(PATH, json={"messages": MESSAGES, **GREEDY, **body})
    assert response.status_code == 200, response.text
    return response.json()


def content(http, **body) -> str:
    return chat(http, **body)["choices"][0]["message"]["content"]


def stream(http, **body):
    events = post_events(http, PATH, {"messages": MESSAGES, **GREEDY, **body})
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def test_answer_has_openais_form(http):
    body = chat(http)
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 20


def test_what_was_not_asked_for_is_null(http):
    body = chat(http)
    assert body["prompt_logprobs"] is body["prompt_token_ids"] is body["choices"][0]["token_ids"] is None
    assert not any({"prompt_logprobs", "prompt_token_ids"} & event.keys() for event in stream(http))


def test_usage_of_streams_can_be_forced(tiny_model):
    limited = ("--override-generation-config", '{"max_new_tokens": 7}')
    with Server(tiny_model, "--enable-force-include-usage", "--enable-prompt-tokens-details", *limited) as server:
        *events, last = stream(server.http)
    assert last["choices"] == [] and last["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    counts = [event["usage"]["completion_tokens"] for event in events]
    assert counts[0] == 0 and counts == sorted(counts)
    assert last["usage"]["completion_tokens"] == 7  # of 20: what the server was started with is a limit


def test_streamed_content_is_the_content(http):
    events = stream(http)
    assert events[0]["object"] == "chat.completion.chunk"
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == content(http)
    assert events[-1]["choices"][0]["finish_reason"] == "length"


def test_streamed_usage(http):
    events = stream(http, stream_options={"include_usage": True})
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 20
    assert events[-1]["usage"]["prompt_tokens"] == chat(http)["usage"]["prompt_tokens"]


def test_prompt_is_the_rendered_template(http):
    rendered = "<s>user: what is asked?</s>\n<s>assistant: "
    tokens = http.post("/tokenize", json={"prompt": rendered, "add_special_tokens": False}).json()["tokens"]
    assert http.post("/tokenize", json={"messages": MESSAGES}).json()["tokens"] == tokens
    assert chat(http, return_token_ids=True)["prompt_token_ids"] == tokens


def test_n_answers(http):
    body = chat(http, n=2, temperature=1.0, seed=3)
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    texts = ["", ""]
    roles = [0, 0]
    for event in stream(http, n=2, temperature=1.0, seed=3):
        choice = event["choices"][0]
        texts[choice["index"]] += choice["delta"].get("content", "")
        roles[choice["index"]] += "role" in choice["delta"]
    assert texts == [choice["message"]["content"] for choice in body["choices"]]
    assert roles == [1, 1]


def test_max_completion_tokens_wins_over_max_tokens(http):
    assert chat(http, max_tokens=9, max_completion_tokens=4)["usage"]["completion_tokens"] == 4


def test_without_limit_an_answer_may_fill_the_context(tiny_model):
    with Server(tiny_model, "--max-model-len", "64") as server:
        body = {"messages": MESSAGES, "ignore_eos": True}
        usage = server.http.post(PATH, json=body).json()["usage"]
        assert usage["total_tokens"] == 64
        assert usage["prompt_tokens_details"] is None  # where no flag asks for them


def test_logprobs_have_the_chat_form(http):
    entries = chat(http, logprobs=True, top_logprobs=3)["choices"][0]["logprobs"]["content"]
    assert len(entries) == 20
    for entry in entries:
        assert bytes(entry["bytes"]).decode(errors="replace") == entry["token"]
        assert [top["logprob"] for top in entry["top_logprobs"]] == sorted(
            (top["logprob"] for top in entry["top_logprobs"]), reverse=True
        )
        assert len(entry["top_logprobs"]) == 3
        assert entry["logprob"] == entry["top_logprobs"][0]["logprob"]  # greedy


def test_logprobs_without_alternatives(http):
    entries = chat(http, logprobs=True)["choices"][0]["logprobs"]["content"]
    assert all(entry["top_logprobs"] == [] for entry in entries)


def test_streamed_logprobs_are_the_logprobs(http):
    streamed = [
        entry["token"]
        for event in stream(http, logprobs=True)
        for entry in (event["choices"][0]["logprobs"] or {"content": []})["content"]
    ]
    assert streamed == [e["token"] for e in chat(http, logprobs=True)["choices"][0]["logprobs"]["content"]]


def test_text_parts_are_joined(http):
    parts = [{"type": "text", "text": "what is"}, {"type": "text", "text": "asked?"}]
    joined = [{"role": "user", "content": "what is\nasked?"}]
    assert content(http, messages=[{"role": "user", "content": parts}]) == content(http, messages=joined)


def test_answers_are_sent_back_as_servers_give_them(http):
    added = {"refusal": None, "annotations": [], "tool_calls": None, "id": "msg_1", "a_clients_own": [{"a": 1}]}
    question, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    messages = [question, answer | added, question]
    plain = [question, answer, question]
    assert content(http, messages=messages, temperature=0) == content(http, messages=plain, temperature=0)


def test_text_parts_of_every_kind(http):
    parts = [{"type": name, name: name} for name in ("text", "refusal", "thinking")]
    joined = [{"role": "user", "content": "text\nrefusal\nthinking"}]
    assert content(http, messages=[{"role": "user", "content": parts}]) == content(http, messages=joined)


@pytest.mark.parametrize("kind", ["text", "message", None])
def test_the_type_of_a_message_goes_to_no_template(http, kind):
    def tokens(**added):
        messages = [message | added for message in MESSAGES]
        return http.post("/tokenize", json={"messages": messages}).json()["tokens"]

    assert tokens(type=kind) == tokens()


def test_developer_is_the_system(http):
    def tokens(role):
        messages = [{"role": role, "content": "be brief"}, *MESSAGES]
        return http.post("/tokenize", json={"messages": messages}).json()["tokens"]

    assert tokens("developer") == tokens("system") != tokens("user")


def test_final_message_can_be_continued(http):
    messages = [*MESSAGES, {"role": "assistant", "content": "it is a"}]
    body = {"messages": messages, "add_generation_prompt": False, "continue_final_message": True}
    tokens = http.post("/tokenize", json=body).json()["tokens"]
    text = http.post("/detokenize", json={"tokens": tokens}).json()["prompt"]
    assert text.endswith("assistant: it is a")
    chat(http, **body)


def test_continued_message_can_be_echoed(http):
    messages = [*MESSAGES, {"role": "assistant", "content": [{"type": "text", "text": "it is a"}]}]
    body = {"messages": messages, "add_generation_prompt": False, "continue_final_message": True}
    answer = content(http, **body)
    assert content(http, **body, echo=True) == "it is a" + answer
    first, *events = stream(http, **body, echo=True)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "it is a"}
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == answer
    assert content(http, echo=True) == content(http)  # the last message is not the answer's role's


def test_answer_without_a_tag_of_its_own_has_the_last_messages_role(http):
    assert chat(http, add_generation_prompt=False)["choices"][0]["message"]["role"] == "user"


def test_prompt_logprobs(http):
    body = chat(http, prompt_logprobs=0)
    assert body["prompt_logprobs"][0] is None
    assert len(body["prompt_logprobs"]) == body["usage"]["prompt_tokens"]


def test_tools_that_ask_for_nothing_are_taken(http):
    chat(http, tools=[], tool_choice="none", response_format={"type": "text"}, parallel_tool_calls=False)


def test_chat_template_flag_replaces_the_models_own(tiny_model, tmp_path):
    template = tmp_path / "template.jinja"
    messages, tools = (
        "{% for m in messages %}[{{ m.content }}]{% endfor %}",
        "{% if tools %}{{ tools[0].name }}{% endif %}",
    )
    template.write_text(messages + "{{ extra }}" + tools)
    defaults = ("--default-chat-template-kwargs", '{"extra": "?"}', "--enable-tokenizer-info-endpoint")
    with Server(tiny_model, "--chat-template", str(template), "--response-role", "bot", *defaults) as server:
        for given, extra in ((None, "?"), ({"extra": "!"}, "!")):
            body = {"messages": MESSAGES, "chat_template_kwargs": given, "tools": [{"name": "tool"}]}
            tokens = server.http.post("/tokenize", json=body).json()["tokens"]
            assert (
                server.http.post("/detokenize", json={"tokens": tokens}).json()["prompt"]
                == f"[what is asked?]{extra}tool"
            )
        info = server.http.get("/tokenizer_info").json()
        assert info["chat_template"] == template.read_text() and info["eos_token"] == "</s>" and info["tokenizer_class"]
        assert chat(server.http)["choices"][0]["message"]["role"] == "bot"


def test_requests_bring_their_own_template_only_where_that_is_trusted(tiny_model, http):
    body = {"messages": MESSAGES, "chat_template": "{{ messages[0].content }}"}
    refused = http.post("/tokenize", json=body)
    assert refused.status_code == 400
    assert "--trust-request-chat-template" in refused.json()["error"]["message"]
    with Server(tiny_model, "--trust-request-chat-template") as server:
        tokens = server.http.post("/tokenize", json=body).json()["tokens"]
        assert server.http.post("/detokenize", json={"tokens": tokens}).json()["prompt"] == "what is asked?"


@pytest.mark.parametrize("given", ["auto", "vllm"])
def test_generation_config_gives_defaults(tiny_model, tmp_path, given):
    """A model whose makers chose temperature 0 answers the same each time, unless vLLM's defaults are asked for."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_model.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 0.0, "max_new_tokens": 7}))
    with Server(folder, "--generation-config", given, "--max-model-len", "64") as server:
        body = {"messages": MESSAGES, "ignore_eos": True, "logprobs": True, "top_logprobs": 1}
        answers = [server.http.post(PATH, json={**body, "seed": seed}).json() for seed in (1, 2)]
        texts = {answer["choices"][0]["message"]["content"] for answer in answers}
        counts = {answer["usage"]["completion_tokens"] for answer in answers}
        if given == "auto":
            assert len(texts) == 1 and counts == {7}
        else:
            assert len(texts) == 2 and counts != {7}


@pytest.mark.parametrize(("num_top", "shown"), [(0, []), (1, ["b"]), (-1, ["b", "a"])])
def test_how_many_alternatives_are_shown(num_top, shown):
    candidates = {5: Logprob(-2.0, 2, "a"), 6: Logprob(-1.0, 1, "b")}
    [entry] = chat_logprobs([5], [candidates], num_top, as_token_ids=False).content
    assert [top.token for top in entry.top_logprobs] == shown
