"""POST /v1/completions against a real server."""

import json

import pytest

from support.server import Server, post_events

PATH = "/v1/completions"
GREEDY = {"temperature": 0, "max_tokens": 24, "ignore_eos": True}
PROMPT = "the quick brown fox"


def complete(http, **body):
    response = http.post(PATH, json={"prompt": PROMPT, **GREEDY, **body})
    assert response.status_code == 200, response.text
    return response.json()


def stream(http, **body):
    events = post_events(http, PATH, {"prompt": PROMPT, **GREEDY, **body})
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def test_answer_has_openais_form(http):
    body = complete(http)
    assert body["object"] == "text_completion"
    assert body["id"].startswith("cmpl-")
    assert body["model"] == "tiny"
    assert [choice["index"] for choice in body["choices"]] == [0]
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["choices"][0]["logprobs"] is None


def test_usage_counts_prompt_and_completion(http):
    tokens = http.post("/tokenize", json={"prompt": PROMPT}).json()["count"]
    usage = complete(http)["usage"]
    assert usage["prompt_tokens"] == tokens
    assert usage["completion_tokens"] == 24
    assert usage["total_tokens"] == tokens + 24


def test_default_is_sixteen_tokens(http):
    response = http.post(PATH, json={"prompt": PROMPT, "ignore_eos": True})
    assert response.json()["usage"]["completion_tokens"] == 16


def test_chats_name_for_max_tokens_is_known(http):
    body = {"prompt": PROMPT, "ignore_eos": True, "max_completion_tokens": 3}
    for both in (body, {**body, "max_tokens": 3}):
        assert http.post(PATH, json=both).json()["usage"]["completion_tokens"] == 3


def test_usage_tells_what_the_prefix_cache_saved(http):
    prompt = list(range(3, 103))
    complete(http, prompt=prompt)
    cached = complete(http, prompt=prompt)["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert 0 < cached < 100


def test_streamed_text_is_the_text(http):
    events = stream(http)
    whole = complete(http)["choices"][0]
    assert "".join(event["choices"][0]["text"] for event in events) == whole["text"]
    assert events[-1]["choices"][0]["finish_reason"] == whole["finish_reason"]
    assert all(event["choices"][0]["finish_reason"] is None for event in events[:-1])
    assert len(events) > 1


def test_streamed_usage_comes_last_and_alone(http):
    events = stream(http, stream_options={"include_usage": True})
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == complete(http)["usage"] | {
        "prompt_tokens_details": events[-1]["usage"]["prompt_tokens_details"]
    }
    assert all(event["usage"] is None for event in events[:-1])


def test_continuous_usage_grows(http):
    events = stream(http, stream_options={"include_usage": True, "continuous_usage_stats": True})
    counts = [event["usage"]["completion_tokens"] for event in events]
    assert counts == sorted(counts)
    assert counts[0] >= 1 and counts[-1] == 24


def test_continuous_usage_needs_usage(http):
    events = stream(http, stream_options={"include_usage": False, "continuous_usage_stats": True})
    assert all("usage" not in event for event in events)


def test_what_was_not_asked_for_is_null(http):
    choice = complete(http)["choices"][0]
    assert choice["logprobs"] is None
    names = {"prompt_logprobs", "prompt_token_ids", "token_ids"}
    assert all(choice[name] is None for name in names)
    assert not any(names & event["choices"][0].keys() for event in stream(http))


def test_events_without_options_have_no_usage(http):
    assert all("usage" not in event for event in stream(http))


def test_n_answers_differ_and_keep_their_order(http):
    body = complete(http, n=3, temperature=1.0, seed=7)
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert len({choice["text"] for choice in body["choices"]}) == 3
    assert body["usage"]["completion_tokens"] == 3 * 24


def test_seed_repeats_an_answer(http):
    once, again = (complete(http, temperature=1.0, seed=11)["choices"][0]["text"] for _ in range(2))
    assert once == again
    assert complete(http, temperature=1.0, seed=12)["choices"][0]["text"] != once


def test_streamed_n_answers_are_the_answers(http):
    texts = {0: "", 1: "", 2: ""}
    for event in stream(http, n=3, temperature=1.0, seed=7):
        for choice in event["choices"]:
            texts[choice["index"]] += choice["text"]
    whole = complete(http, n=3, temperature=1.0, seed=7)
    assert texts == {choice["index"]: choice["text"] for choice in whole["choices"]}


@pytest.mark.parametrize("prompts", [["one", "two two"], [[5, 6, 7], [8, 9]]], ids=["texts", "token ids"])
def test_several_prompts_are_answered_in_their_order(http, prompts):
    together = complete(http, prompt=prompts, n=2, temperature=0)
    alone = [complete(http, prompt=prompt)["choices"][0]["text"] for prompt in prompts]
    assert [choice["index"] for choice in together["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in together["choices"]] == [alone[0], alone[0], alone[1], alone[1]]


def test_streamed_prompts_are_told_apart(http):
    texts = ["", ""]
    for event in stream(http, prompt=["one", "two two"]):
        texts[event["choices"][0]["index"]] += event["choices"][0]["text"]
    assert texts == [choice["text"] for choice in complete(http, prompt=["one", "two two"])["choices"]]


def test_token_ids_are_a_prompt(http):
    tokens = http.post("/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    assert complete(http, prompt=tokens)["choices"][0]["text"] == complete(http)["choices"][0]["text"]


def test_stop_string_ends_the_answer_before_it(http):
    full = complete(http)["choices"][0]["text"]
    stop = full[4:6]
    choice = complete(http, stop=[stop])["choices"][0]
    assert choice["text"] == full[: full.index(stop)]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
    kept = complete(http, stop=stop, include_stop_str_in_output=True)["choices"][0]["text"]
    assert kept == full[: full.index(stop)] + stop


def test_streams_never_show_a_part_of_the_stop_string(http):
    stop = complete(http)["choices"][0]["text"][4:7]
    streamed = "".join(event["choices"][0]["text"] for event in stream(http, stop=[stop]))
    assert streamed == complete(http, stop=[stop])["choices"][0]["text"]


def test_stop_token_ends_the_answer(http):
    token = complete(http, return_token_ids=True)["choices"][0]["token_ids"][3]
    choice = complete(http, stop_token_ids=[token], return_token_ids=True)["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", token)
    assert len(choice["token_ids"]) <= 4


def test_logprobs_have_the_completions_form(http):
    choice = complete(http, logprobs=2, max_tokens=5, return_token_ids=True)["choices"][0]
    logprobs = choice["logprobs"]
    assert {len(values) for values in logprobs.values()} == {5}
    assert all(value <= 0 for value in logprobs["token_logprobs"])
    assert all(1 <= len(top) <= 3 for top in logprobs["top_logprobs"])
    assert logprobs["text_offset"][0] == 0
    # Greedy: the chosen token is the most likely one.
    for chosen, top in zip(logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True):
        assert chosen == max(top.values())


def test_streamed_logprobs_are_the_logprobs(http):
    pieces = [event["choices"][0]["logprobs"] for event in stream(http, logprobs=1)]
    joined = {name: [v for piece in pieces if piece for v in piece[name]] for name in pieces[0]}
    assert joined["tokens"] == complete(http, logprobs=1)["choices"][0]["logprobs"]["tokens"]
    assert joined["text_offset"] == complete(http, logprobs=1)["choices"][0]["logprobs"]["text_offset"]


def test_echo_puts_the_prompt_first(http):
    text = complete(http)["choices"][0]["text"]
    assert complete(http, echo=True)["choices"][0]["text"] == PROMPT + text
    assert "".join(event["choices"][0]["text"] for event in stream(http, echo=True)) == PROMPT + text


def test_echo_without_tokens_gives_the_prompts_logprobs(http):
    tokens = http.post("/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    choice = complete(http, echo=True, logprobs=1, max_tokens=0)["choices"][0]
    assert choice["text"] == PROMPT
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert len(choice["logprobs"]["token_logprobs"]) == len(tokens)
    assert all(value <= 0 for value in choice["logprobs"]["token_logprobs"][1:])
    assert "".join(choice["logprobs"]["tokens"]) == PROMPT


def test_prompt_logprobs_are_by_token_id(http):
    choice = complete(http, prompt_logprobs=1, return_token_ids=True)["choices"][0]
    assert choice["prompt_logprobs"][0] is None
    for token, candidates in zip(choice["prompt_token_ids"][1:], choice["prompt_logprobs"][1:], strict=True):
        assert candidates[str(token)]["rank"] >= 1


def test_tokens_can_be_named_by_id(http):
    choice = complete(http, logprobs=0, return_tokens_as_token_ids=True, return_token_ids=True)["choices"][0]
    assert choice["logprobs"]["tokens"] == [f"token_id:{token}" for token in choice["token_ids"]]


def test_truncation_keeps_the_end(http):
    tokens = http.post("/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    choice = complete(http, truncate_prompt_tokens=2, return_token_ids=True)["choices"][0]
    assert choice["prompt_token_ids"] == tokens[-2:]
    for side, kept in (("left", tokens[-2:]), ("right", tokens[:2])):
        choice = complete(http, truncate_prompt_tokens=2, truncation_side=side, return_token_ids=True)["choices"][0]
        assert choice["prompt_token_ids"] == kept


def test_logit_bias_and_allowed_tokens_choose_the_token(http):
    biased = complete(http, logit_bias={"42": 100}, max_tokens=2, return_token_ids=True)["choices"][0]
    assert biased["token_ids"] == [42, 42]
    allowed = complete(http, allowed_token_ids=[43], max_tokens=2, return_token_ids=True)["choices"][0]
    assert allowed["token_ids"] == [43, 43]


def test_request_id_names_the_answer(http):
    assert complete(http, request_id="mine")["id"] == "cmpl-mine"


def test_any_served_name_answers_under_its_own_name(http):
    assert complete(http, model="alias")["model"] == "alias"


def test_fields_without_effect_are_taken(http):
    complete(http, user="me", best_of=1, suffix=None, metadata={"a": "b"}, logit_bias=None, service_tier="auto")


def test_token_ids_alone(tiny_model):
    with Server(tiny_model, "--skip-tokenizer-init", "--max-model-len", "64") as server:
        choice = complete(server.http, prompt=[5, 6], echo=True, logprobs=0, return_token_ids=True)["choices"][0]
        assert choice["prompt_token_ids"] == [5, 6] and len(choice["token_ids"]) == 24
        assert choice["text"] == "" and choice["logprobs"]["tokens"] == [""] * 26
        assert server.http.post(PATH, json={"prompt": "text"}).status_code == 400
